"""A small server that speaks OpenAI's chat protocol, and can be rude."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content, refusal=None, finish="stop", tokens=(1000, 50)):
    """The body of an answer."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def sentences(*texts):
    return completion(json.dumps({"sentences": list(texts)}))


class Chat:
    """Answers by `answer(number, body)` -> (status, body, headers); a body that is no dict is sent as it is."""

    def __init__(self, answer):
        self.answer, self.asked, self.keys = answer, [], []
        self.at_once, self.most_at_once, self.lock = 0, 0, threading.Lock()


@contextmanager
def chat_server(answer):
    """Yields the address and the `Chat`; `answer` may also return a dict alone, of status 200."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with chat.lock:
                chat.asked.append((self.path, body, time.monotonic()))
                chat.keys.append(self.headers.get("Authorization"))
                number = len(chat.asked)
                chat.at_once += 1
                chat.most_at_once = max(chat.most_at_once, chat.at_once)
            try:
                said = chat.answer(number, body)
            finally:
                with chat.lock:
                    chat.at_once -= 1
            status, content, headers = said if isinstance(said, tuple) else (200, said, {})
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                kind = {"Content-Type": "application/json", "Content-Length": str(len(data))}
                for name, value in {**kind, **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # who asked did not wait
                pass

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", chat
    finally:
        server.shutdown()
        server.server_close()
