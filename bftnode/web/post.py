"""One POST to somebody outside, who may lie: a witness that is asked, a webhook that is told. For worker threads."""

import http.client
import urllib.error
import urllib.request
from typing import Any

ANSWER_BYTES_MAX = 64 * 1024
"""What is read of an answer's body; what follows is left unread."""

Answer = tuple[int, bytes]
"""HTTP status and body."""


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Who is asked does not choose whom else we talk to: a redirection is an answer like other refusals."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirection)


def post(url: str, body: bytes, content_type: str, timeout_s: float) -> Answer:
    """Raises OSError where there is no answer in HTTP, whatever came instead.

    `timeout_s` is for each step of it: who wants all of it bounded leaves the thread to itself after a while.
    """
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{url!r} is no http or https URL")
    try:
        request = urllib.request.Request(url, body, {"Content-Type": content_type})  # noqa: S310  # checked above
        try:
            with _opener.open(request, timeout=timeout_s) as response:
                return int(response.status), response.read(ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(ANSWER_BYTES_MAX)
    except (http.client.HTTPException, ValueError) as error:
        # Its words are the other side's.
        raise OSError(f"no answer in HTTP ({type(error).__name__})") from error
