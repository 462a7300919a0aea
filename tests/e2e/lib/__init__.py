# SPDX-License-Identifier: BSD-2-Clause
"""Small helpers that the end-to-end tests are written in."""
