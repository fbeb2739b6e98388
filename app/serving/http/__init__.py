"""Routes, authentication, errors and the OpenAPI document."""

from app.serving.http.auth import (
    ADMIN_TOKEN,
    METRICS_TOKEN,
    ApiKeys,
    Check,
    api_key,
    token,
)
from app.serving.http.middleware import (
    add_middleware,
)
from app.serving.http.openapi import (
    TAGS,
    describe,
    operation_id,
)
from app.serving.http.problems import (
    add_problem_handlers,
)
from app.serving.http.routes.admin import (
    admin_router,
)
from app.serving.http.routes.docs import (
    docs_router,
)
from app.serving.http.routes.embed import (
    embed_router,
)
from app.serving.http.routes.gallery import (
    gallery_router,
)
from app.serving.http.routes.health import (
    health_router,
    metrics_router,
)
from app.serving.http.routes.info import (
    model_router,
)
from app.serving.http.routes.labels import (
    label_changes_router,
    labels_router,
)
from app.serving.http.routes.page import (
    page_router,
)
from app.serving.http.routes.predict import (
    predict_router,
)
from app.serving.http.routes.similar import (
    similar_router,
)
from app.serving.http.routes.validate import (
    validate_router,
)
from app.serving.http.routes.zero_shot import (
    zero_shot_router,
)

__all__ = [
    "ADMIN_TOKEN",
    "METRICS_TOKEN",
    "TAGS",
    "ApiKeys",
    "Check",
    "add_middleware",
    "add_problem_handlers",
    "admin_router",
    "api_key",
    "describe",
    "docs_router",
    "embed_router",
    "gallery_router",
    "health_router",
    "label_changes_router",
    "labels_router",
    "metrics_router",
    "model_router",
    "operation_id",
    "page_router",
    "predict_router",
    "similar_router",
    "token",
    "validate_router",
    "zero_shot_router",
]
