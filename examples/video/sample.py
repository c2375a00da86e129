"""A film of a second, drawn here: a ball that bounces."""

import io

from PIL import Image, ImageDraw

FRAMES = 10
SIZE = (160, 90)
FRAME_MS = 100


def film(frames: int = FRAMES, size: tuple[int, int] = SIZE) -> bytes:
    """An animated GIF."""
    pictures = [_picture(nth / frames, size) for nth in range(frames)]
    output = io.BytesIO()
    pictures[0].save(output, "GIF", save_all=True, append_images=pictures[1:], duration=FRAME_MS, loop=0)
    return output.getvalue()


def _picture(moment: float, size: tuple[int, int]) -> Image.Image:
    """``moment`` runs from 0 to 1, and the ball falls and comes back meanwhile."""
    width, height = size
    picture = Image.new("RGB", size, "#1d3557")
    radius = height // 8
    x, y = moment * width, height - radius - (height - 2 * radius) * 4 * (moment - 0.5) ** 2
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill="#e63946")
    return picture
