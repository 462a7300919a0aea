# SPDX-License-Identifier: BSD-2-Clause
"""What tools/bench is made of."""
