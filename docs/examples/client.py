"""Asks a vidsim server: python client.py [URL] CLIP, with its token in VIDSIM_SERVE_TOKEN.

It ingests the first known library again, follows that, and ranks the stored videos by likeness to
the clip. httpx2 is httpx by its first author; httpx works as well.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx2 as httpx

*url, clip = sys.argv[1:]
headers = {"Authorization": f"Bearer {os.environ.get('VIDSIM_SERVE_TOKEN', '')}"}

with httpx.Client(base_url=url[0] if url else "http://127.0.0.1:8000", headers=headers) as vidsim:

    def ask(method: str, path: str, **how: Any) -> Any:
        """Return an answer, or end with what the server says."""
        answer = vidsim.request(method, path, timeout=300, **how)
        if answer.is_error:
            sys.exit(answer.json()["error"]["message"])
        return answer.json()

    libraries = ask("GET", "/v1/libraries")["libraries"]
    name = libraries[0]["library"]
    job = ask("POST", "/v1/ingest", json={"library": name}, headers={"Idempotency-Key": "today"})
    with vidsim.stream("GET", f"/v1/ingest/{job['job']}/events", timeout=None) as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                job = json.loads(line.removeprefix("data: "))
    print(f"{name}: {job['state']}")

    content = Path(clip).read_bytes()
    upload = ask("POST", "/v1/uploads", params={"name": Path(clip).name}, content=content)
    asked = {"clips": [{"upload": upload["upload"]}], "k": 5}
    for weights in ({}, {"audio": 2.0}):  # the clip is embedded once
        found = ask("POST", "/v1/query", json=asked | ({"weights": weights} if weights else {}))
        for each in found["results"]:
            at = each["moments"][0]["start_s"]
            print(f"{each['likeness']:.2f} {each['word']:13} {each['video_id']} at {at:.1f} s")
