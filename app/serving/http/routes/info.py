"""GET /model: the checkpoint's card."""

from fastapi import APIRouter

from app.serving.inference import Engine
from app.serving.schemas import ModelCard


def model_router(engine: Engine) -> APIRouter:
    """Build the router of /model."""
    router = APIRouter(tags=["information"])

    @router.get("/model", summary="The checkpoint's card", response_model=ModelCard)
    async def model() -> ModelCard:
        classifier = engine.models.current.classifier
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

    return router
