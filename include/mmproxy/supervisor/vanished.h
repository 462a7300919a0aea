/* SPDX-License-Identifier: BSD-2-Clause */
/* vanished: what a crash left in the runtime directory for network namespaces that are gone. */
#ifndef MMPROXY_SUPERVISOR_VANISHED_H
#define MMPROXY_SUPERVISOR_VANISHED_H

/*
 * Removes it; to be called at a start. What is kept for a namespace stays as long as one process
 * can't be looked at: it may be in there. Seeing them all takes CAP_SYS_PTRACE.
 */
void vanished_clean(void);

#endif
