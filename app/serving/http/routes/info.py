"""GET /labels and GET /model: the label set and the checkpoint's card."""

from fastapi import APIRouter

from app.serving.inference import Engine
from app.serving.schemas import (
    LabelCalibration,
    LabelInfo,
    LabelsResponse,
    LabelThresholds,
    ModelCard,
)


def model_router(engine: Engine) -> APIRouter:
    """Build the router of /labels and /model."""
    router = APIRouter(tags=["information"])

    @router.get("/labels", summary="The label set", response_model=LabelsResponse)
    async def labels() -> LabelsResponse:
        label_set = engine.models.current.classifier.labels
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
                    thresholds=LabelThresholds(**label.thresholds.model_dump()),
                    calibration=LabelCalibration(**label.calibration.model_dump()),
                    evidence=label.evidence,
                )
                for label, prompt in zip(label_set.labels, label_set.prompts, strict=True)
            ],
        )

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
