/* SPDX-License-Identifier: BSD-2-Clause */
#include "mmproxy/exporter/board.h"

#include "mmproxy/base/shared.h"

static size_t size_of(size_t n_listeners)
{
    return shared_whole_pages(sizeof(struct board) + n_listeners * sizeof(struct board_listener));
}

struct board *board_new(size_t n_listeners)
{
    struct board *board = shared_new(size_of(n_listeners));

    if (board)
        board->n_listeners = n_listeners;
    return board;
}

void board_free(struct board *board)
{
    if (board)
        shared_free(board, size_of(board->n_listeners));
}

const char *board_state_word(enum board_state state)
{
    static const char *const words[BOARD_STATES] = {
        [BOARD_OPEN] = "open",
        [BOARD_DRAINED] = "drained",
        [BOARD_TARGET_DOWN] = "target_down",
        [BOARD_NO_NETNS] = "netns",
        [BOARD_REMOVED] = "removed",
    };

    return words[state];
}

int board_lock(struct board *board)
{
    return shared_own(board, size_of(board->n_listeners), board, 0);
}

bool board_is_serving(const struct board *board)
{
    return atomic_load(&board->generation) > 0 &&
           (atomic_load(&board->workers) > 0 || board->n_serving == 0);
}
