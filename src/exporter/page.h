/* SPDX-License-Identifier: BSD-2-Clause */
/* page: the page for people as one text, put together from page.html, page.css and page.js when
 * mmproxy is built (cmake/page.cmake). */
#ifndef EXPORTER_PAGE_H
#define EXPORTER_PAGE_H

#include <stddef.h>

extern const char page_html[];
extern const size_t page_html_len;

/* The value of Content-Security-Policy: the page's own style and script by their hashes. */
extern const char page_policy[];

#endif
