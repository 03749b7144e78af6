"""What an application needs to ask a routed model and to say what the answer was worth.

    from flytewheel.client import Client

    client = Client("http://127.0.0.1:8080", api_key="…")
    answer = client.chat("flytewheel/oncall", "How do I restart billing?", user="ada")
    client.feedback(answer, "thumbs_up", comment="just what I needed")

An application that asks through another client (OpenAI's, Ollama's) hands over the answer's headers and has the same:

    raw = openai_client.chat.completions.with_raw_response.create(model="flytewheel/oncall", …)
    client.feedback(client.keep(raw.headers), "thumbs_down")

Feedback is sent again, under the same id, while the router is away or busy; what arrives twice counts once.
`AsyncClient` is the same with `await`.
"""

from flytewheel.client.answers import Answer as Answer
from flytewheel.client.asking import AsyncClient as AsyncClient
from flytewheel.client.asking import Client as Client
from flytewheel.client.events import Result as Result
from flytewheel.client.refusals import RefusedError as RefusedError
from flytewheel.client.refusals import UnreachableError as UnreachableError

__all__ = ["Answer", "AsyncClient", "Client", "RefusedError", "Result", "UnreachableError"]
