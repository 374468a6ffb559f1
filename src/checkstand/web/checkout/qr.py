"""Draws the payment code as an inline SVG element: no image request, no third party.

Black on a white plate in every theme, because many readers fail on inverted codes. The quiet
zone is part of the picture, so no style sheet can take it away. Drawing costs some 8 ms of
CPU: do it once per attempt, off the loop, and keep the text.
"""

from collections.abc import Iterable, Iterator

import segno

#: ISO/IEC 18004 asks for four modules of white on every side.
QUIET_ZONE_MODULES = 4
#: Below this many CSS pixels phones have to come too close to focus.
SIDE_PX_MIN = 240
#: What still fits beside its padding on a phone 360 px wide.
SIDE_PX_AIM = 300


def draw_qr(text: str) -> str:
    """Draw `text` as one SVG element, error level M, without a logo.

    Each module is a whole number of CSS pixels, so that its edges fall on pixels. The element is
    hidden from screen readers: the page around it knows whom and how much it pays.
    """
    code = segno.make(text, error="m", micro=False, boost_error=False)
    modules = len(code.matrix) + 2 * QUIET_ZONE_MODULES
    side = modules * _module_px(modules)
    return (
        f'<svg class="qr" width="{side}" height="{side}" viewBox="0 0 {modules} {modules}"'
        ' shape-rendering="crispEdges" aria-hidden="true" focusable="false">'
        f'<path fill="#fff" d="M0 0h{modules}v{modules}H0z"/>'
        f'<path fill="none" stroke="#000" d="{"".join(_strokes(code.matrix))}"/></svg>'
    )


def _module_px(modules: int) -> int:
    return max(SIDE_PX_AIM // modules, -(-SIDE_PX_MIN // modules))


def _strokes(matrix: Iterable[Iterable[int]]) -> Iterator[str]:
    """Yield one horizontal line per run of dark modules, through the middle of its row."""
    for y, row in enumerate(matrix):
        start: int | None = None
        for x, dark in enumerate((*row, 0)):
            if dark and start is None:
                start = x
            elif not dark and start is not None:
                left, middle = start + QUIET_ZONE_MODULES, y + QUIET_ZONE_MODULES + 0.5
                yield f"M{left} {middle}h{x - start}"
                start = None
