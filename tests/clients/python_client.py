"""Sends two photos and options with a client of openapi-python-client; prints the answer."""

import json
import sys
from pathlib import Path

from mumic_client import Client
from mumic_client.api.images import predict
from mumic_client.api.information import readyz
from mumic_client.models import Health, PredictForm, PredictResponse, PredictResult
from mumic_client.types import File

client = Client(base_url=sys.argv[1])
photos = [Path(name) for name in sys.argv[2:]]
files = [File(each.open("rb"), each.name, "image/jpeg") for each in photos]
form = PredictForm(images=files, include_labels=["bedroom", "sofa", "bed"], all_scores=True)
answer = predict.sync(client=client, body=form)
ready = readyz.sync(client=client)
assert isinstance(answer, PredictResponse)
assert isinstance(ready, Health)
labels = [len(each.labels) if isinstance(each, PredictResult) else -1 for each in answer.results]
print(json.dumps({"name": answer.model.name, "labels": labels, "ready": ready.status}))
