"""A program that stands for `vllm`: takes its arguments, speaks its HTTP, loads adapters by name, answers at once.

What it was given goes into `served.jsonl` in the folder `FAKE_VLLM_HOME`, and what goes wrong is read from
`vllm-orders.json` there: `die` (words to end with at the start; `bases`: for these only, by folder name), `wait`
(seconds until it listens), `stubborn` (it does not stop when asked to), `pause` (seconds before each answer). A POST
to `/die` ends it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOME = Path(os.environ.get("FAKE_VLLM_HOME", "."))
ANSWER = "The cholera, sir, and the miasma of foul drains."


def install(folder: Path) -> Path:
    """Write the program `vllm` into a folder for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "vllm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def starts(home: Path) -> list[dict[str, Any]]:
    """What each started server was given: arguments by flag, the key, process ids."""
    file = home / "served.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def requests(home: Path) -> list[dict[str, Any]]:
    """What the servers were asked for, in order: each request's body with its path."""
    file = home / "requests.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main() -> None:
    file = HOME / "vllm-orders.json"
    orders = json.loads(file.read_text()) if file.exists() else {}
    command, base, *rest = sys.argv[1:]
    assert command == "serve"
    flags: dict[str, str] = {}
    for part in rest:
        if part.startswith("--"):
            flags[part] = ""
        else:
            flags[list(flags)[-1]] = part
    child = subprocess.Popen(["sleep", "600"])
    if orders.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    key = flags.get("--api-key") or os.environ.get("VLLM_API_KEY", "")
    about = {"base": base, "flags": flags, "key": key, "pids": [os.getpid(), child.pid], "arguments": sys.argv[1:]}
    with (HOME / "served.jsonl").open("a") as stream:
        stream.write(json.dumps(about) + "\n")
    print("INFO 01-01 00:00:00 [fake.py:1] Loading weights", flush=True)
    if orders.get("die") and Path(base).name in orders.get("bases", [Path(base).name]):
        child.kill()
        sys.exit(orders["die"])
    time.sleep(orders.get("wait", 0))
    serve(base, flags, key, orders.get("pause", 0))


def serve(base: str, flags: dict[str, str], key: str, pause: float) -> None:
    adapters: dict[str, str] = {}
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            models = [{"id": base, "root": base, "parent": None, "max_model_len": 512}]
            models += [{"id": n, "root": p, "parent": base, "max_model_len": None} for n, p in adapters.items()]
            self.reply(200, {"object": "list", "data": models})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            with lock, (HOME / "requests.jsonl").open("a") as stream:
                stream.write(json.dumps({"path": self.path} | asked) + "\n")
            if self.path == "/die":
                os._exit(3)
            if self.path == "/v1/load_lora_adapter":
                adapters[asked["lora_name"]] = asked["lora_path"]
                self.reply(200, {})
            elif asked["model"] != base and asked["model"] not in adapters:
                self.reply(404, {"error": {"message": f"no model {asked['model']}"}})
            else:
                time.sleep(pause)
                self.reply(200, completion(asked["model"]))

        def reply(self, status: int, content: dict[str, Any]) -> None:
            if self.headers.get("Authorization") != f"Bearer {key}" and self.path != "/die":
                status, content = 401, {"error": "Unauthorized"}
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    ThreadingHTTPServer((flags["--host"], int(flags["--port"])), Handler).serve_forever(poll_interval=0.02)


def completion(model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": ANSWER}
    return {
        "id": "fake",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


if __name__ == "__main__":
    main()
