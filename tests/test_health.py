"""What a load balancer and a monitor see."""

import httpx

from app.core.classifier import Classifier


def test_a_ready_server_says_so(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_the_label_set_is_told_whole(client: httpx.Client, tiny_classifier: Classifier) -> None:
    answer = client.get("/labels").json()
    assert [label["id"] for label in answer["labels"]] == tiny_classifier.labels.ids
    assert len(answer["categories"]) == 8
    pool = next(label for label in answer["labels"] if label["id"] == "indoor_swimming_pool")
    assert pool["parents"] == ["swimming_pool"]
    assert pool["prompt"] == "a photo with indoor swimming pool"


def test_the_card_names_checkpoint_device_and_precision(client: httpx.Client) -> None:
    card = client.get("/model").json()
    assert (card["name"], card["version"]) == ("tiny", "1.2.3")
    assert (card["device"], card["precision"]) == ("cpu", "fp32")
    assert (card["labels"], card["dimension"], card["image_size_px"]) == (120, 32, 64)


def test_metrics_are_prometheus_text(client: httpx.Client) -> None:
    client.get("/healthz")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'mumic_requests_total{route="/healthz",status="200"}' in answer.text
    assert 'mumic_model_info{device="cpu"' in answer.text
