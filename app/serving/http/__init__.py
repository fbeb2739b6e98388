"""Routes, authentication, errors and the OpenAPI document."""

from app.serving.http.auth import (
    ApiKeys,
    Check,
    api_key,
    token,
)
from app.serving.http.middleware import (
    RequestContext,
)
from app.serving.http.openapi import (
    describe,
    problem_responses,
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
from app.serving.http.routes.health import (
    health_router,
    metrics_router,
)
from app.serving.http.routes.info import (
    model_router,
)
from app.serving.http.routes.predict import (
    predict_router,
)
from app.serving.http.routes.zero_shot import (
    zero_shot_router,
)

__all__ = [
    "ApiKeys",
    "Check",
    "RequestContext",
    "add_problem_handlers",
    "admin_router",
    "api_key",
    "describe",
    "docs_router",
    "embed_router",
    "health_router",
    "metrics_router",
    "model_router",
    "predict_router",
    "problem_responses",
    "token",
    "zero_shot_router",
]
