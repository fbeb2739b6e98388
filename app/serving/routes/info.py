"""What only reads: the label set, the checkpoint's card, health, metrics."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.core.classifier import Classifier
from app.errors import DrainingError
from app.serving.engine import Engine
from app.serving.metrics import Metrics
from app.serving.openapi import problem_responses
from app.serving.schemas import Health, LabelInfo, LabelsResponse, ModelCard


def info_router(engine: Engine, classifier: Classifier, metrics: Metrics) -> APIRouter:
    """The routes, bound to what they use."""
    router = APIRouter(tags=["information"])

    @router.get("/labels", summary="The label set", response_model=LabelsResponse)
    async def labels() -> LabelsResponse:
        label_set = classifier.labels
        return LabelsResponse(
            version=label_set.version,
            categories=label_set.categories,
            labels=[
                LabelInfo(
                    id=label.id,
                    name=label.name,
                    description=label.description,
                    category=label.category,
                    parents=label.parents,
                    prompt=prompt,
                    thresholds=label.thresholds.model_dump(),
                )
                for label, prompt in zip(label_set.labels, label_set.prompts, strict=True)
            ],
        )

    @router.get("/model", summary="The checkpoint's card", response_model=ModelCard)
    async def model() -> ModelCard:
        card = classifier.checkpoint.card
        return ModelCard(
            name=card.name,
            version=card.version,
            labels_version=classifier.labels.version,
            labels=len(classifier.labels.labels),
            dimension=classifier.dimension,
            image_size_px=classifier.preprocess.size_px,
            logit_scale=classifier.logit_scale,
            device=str(classifier.placement.device),
            precision=classifier.placement.precision,
            training=card.training,
            metrics=card.metrics,
        )

    @router.get("/healthz", summary="The process is alive", response_model=Health)
    async def healthz() -> Health:
        return Health()

    @router.get(
        "/readyz",
        summary="The model is loaded, checked and warm",
        response_model=Health,
        responses=problem_responses(503),
    )
    async def readyz() -> Health:
        if engine.draining:
            raise DrainingError("the service is stopping; send requests to another instance")
        return Health()

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
