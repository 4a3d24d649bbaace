"""The log as C2SP tlog-tiles over HTTP: /checkpoint, and below /tile/ the tiles and entry bundles of its size.

Only what a cosigned checkpoint covers is shown. A tile never changes, of whatever width: it may be cached for ever.
"""

from typing import Protocol

from bftnode.protocol.errors import Refused
from bftnode.protocol.tlog.tiles import Tile, parse_tile_path
from bftnode.web.server import BINARY, BRIEFLY, IMMUTABLE, Request, Response, refusal


class TileSource(Protocol):
    """One node's log."""

    async def newest_checkpoint(self) -> bytes:
        """The largest cosigned checkpoint, as a signed note. Raises Refused(NOT_FOUND)."""

    async def tile(self, tile: Tile) -> bytes:
        """A tile's or bundle's bytes. Raises Refused(NOT_FOUND)."""


class Tiles:
    """Handles GET and HEAD of `source`."""

    def __init__(self, source: TileSource) -> None:
        self._source = source

    async def __call__(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return refusal(405, "the log is read with GET")
        path = request.path.removeprefix("/")
        try:
            if path == "checkpoint":
                return Response(200, await self._source.newest_checkpoint(), cache=BRIEFLY)
            if path.startswith("tile/"):
                return Response(200, await self._source.tile(parse_tile_path(path)), BINARY, IMMUTABLE)
        except Refused as refused:
            return refusal(404, refused.detail)
        return refusal(404, "here are /checkpoint and /tile/...")
