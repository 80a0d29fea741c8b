"""The route by which the page shows its token once: pictures and players cannot carry one."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from ..clips.asking import Asked
from ..http.guard import COOKIE, same_token
from ..http.refusals import ForbiddenError
from .serving import Here

router = APIRouter(prefix="/v1", tags=["about"])


class Session(Asked):
    """What opens the server to a browser."""

    token: str = Field(max_length=4096)


@router.post("/session", status_code=204, summary="Give a browser the token as a cookie")
def begin(here: Here, asked: Session, response: Response) -> None:
    """Set a cookie that no script reads and no other site sends; none where no token is needed."""
    if not here.options.token:
        return
    if not same_token(asked.token, here.options.token):
        raise ForbiddenError("The token is wrong; open the address that 'vidsim serve' printed.")
    response.set_cookie(COOKIE, asked.token, httponly=True, samesite="strict", path="/")
