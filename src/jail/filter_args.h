/* SPDX-License-Identifier: BSD-2-Clause */
/* Short words for the arguments of system calls in the tables of filters. */
#ifndef JAIL_FILTER_ARGS_H
#define JAIL_FILTER_ARGS_H

#include "mmproxy/jail/filter.h"

#define ARG(i, t, v)                                      \
    {                                                     \
        .index = (i), .test = (t), .value = (uint32_t)(v) \
    }
#define IS(i, v)      ARG(i, FILTER_IS, v)
#define HAS(i, v)     ARG(i, FILTER_HAS, v)
#define LACKS(i, v)   ARG(i, FILTER_LACKS, v)
#define ABOVE(i, v)   ARG(i, FILTER_ABOVE, v)
#define OWN_PID(i)    ARG(i, FILTER_OWN_PID, 0)
#define NO_POINTER(i) ARG(i, FILTER_NULL, 0)
#define OPTION(l, o)  .args = { IS(1, l), IS(2, o) }

#endif
