/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/net/edges.h"

#include <errno.h>
#include <unistd.h>

static unsigned events_of(uint32_t happened)
{
    unsigned events = 0;

    if (happened & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR))
        events |= EDGE_READ;
    if (happened & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        events |= EDGE_WRITE;
    if (happened & EPOLLERR)
        events |= EDGE_ERROR;
    else if (happened & EPOLLRDHUP)
        events |= EDGE_END;
    if (happened & EPOLLPRI)
        events |= EDGE_URGENT;
    return events;
}

static void on_readable(struct ev_loop *loop, ev_io *io, int revents)
{
    struct edges *edges = io->data;

    (void)loop;
    (void)revents;
    int n = epoll_wait(edges->epoll_fd, edges->batch, EDGES_BATCH, 0);
    edges->n_batch = n > 0 ? n : 0;
    edges->next = 0;
    while (edges->next < edges->n_batch) {
        const struct epoll_event *event = &edges->batch[edges->next++];
        struct edge *edge = event->data.ptr;
        unsigned events = events_of(event->events);
        if (!edge)
            continue; /* forgotten meanwhile */
        edge->told |= (uint8_t)(events & (EDGE_END | EDGE_URGENT));
        if (events & EDGE_ERROR)
            edge->due = 0; /* the owner may read bytes first, and not meet the error */
        edges->on_event(edge, events);
    }
    edges->n_batch = 0;
}

int edges_open(struct edges *edges, struct ev_loop *loop,
               void (*on_event)(struct edge *edge, unsigned events))
{
    *edges = (struct edges){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .on_event = on_event };
    if (edges->epoll_fd < 0)
        return -errno;
    edges->loop = loop;
    ev_io_init(&edges->io, on_readable, edges->epoll_fd, EV_READ);
    edges->io.data = edges;
    ev_io_start(loop, &edges->io);
    return 0;
}

void edges_close(struct edges *edges)
{
    if (!edges->loop)
        return;
    ev_io_stop(edges->loop, &edges->io);
    close(edges->epoll_fd);
    edges->loop = NULL;
}

/* An urgent byte, an error and the end are told whatever is wanted. */
int edges_want(struct edges *edges, struct edge *edge, int fd, unsigned wanted)
{
    struct epoll_event event = { .events = EPOLLET | EPOLLRDHUP | EPOLLPRI, .data.ptr = edge };
    bool is_news = (wanted & ~(unsigned)edge->due) != 0;

    edge->due = (uint8_t)wanted;
    if (!is_news)
        return 0;
    if (wanted & EDGE_READ)
        event.events |= EPOLLIN;
    if (wanted & EDGE_WRITE)
        event.events |= EPOLLOUT;
    /* Adding and changing look at the socket anew: what it is ready for already is told. */
    if (epoll_ctl(edges->epoll_fd, edge->is_added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    edge->is_added = true;
    return 0;
}

void edges_again(struct edge *edge, unsigned events)
{
    edge->due &= (uint8_t)~events;
}

void edges_forget(struct edges *edges, const struct edge *edge)
{
    for (int i = edges->next; i < edges->n_batch; i++)
        if (edges->batch[i].data.ptr == edge)
            edges->batch[i].data.ptr = NULL;
}
