//! Errors as clients see them: `{"error": {"code", "message", "details"}}`.

use crate::execute::MutationError;
use crate::mqtt::CallError;
use crate::plan::DeleteError;
use crate::store::StoreError;
use crate::views::{ErrorBody, ErrorReply, ManifestProblem};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                code: code.to_owned(),
                message: message.into(),
                details: Vec::new(),
            },
        }
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    pub(super) fn too_large() -> Self {
        let message = format!("a request may have {} MiB at most", super::MAX_BODY >> 20);
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    fn with(mut self, details: Vec<ManifestProblem>) -> Self {
        self.body.details = details;
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let unauthorized = self.status == StatusCode::UNAUTHORIZED;
        let mut response = (self.status, Json(ErrorReply { error: self.body })).into_response();
        if unauthorized {
            let value = header::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

impl From<MutationError> for ApiError {
    fn from(error: MutationError) -> Self {
        let text = chain(&error);
        match error {
            MutationError::Manifest(mistakes) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-manifest", text)
                    .with(mistakes.into_iter().map(Into::into).collect())
            }
            MutationError::Delete(DeleteError::NotFound(_)) | MutationError::NoNode(_) => {
                Self::not_found(text)
            }
            MutationError::Delete(_) => Self::new(StatusCode::CONFLICT, "in-use", text),
            MutationError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
            }
            MutationError::Store(_) | MutationError::Encode(_) => internal(&text),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        internal(&chain(&error))
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let text = chain(&error);
        match error {
            CallError::Timeout { .. } => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", text),
            CallError::Disconnected => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "disconnected", text)
            }
            CallError::Offline { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "offline", text)
            }
            CallError::Refused { .. } => Self::new(StatusCode::CONFLICT, "refused", text),
            CallError::Publish(_) | CallError::Encode(_) | CallError::Incomplete { .. } => {
                Self::new(StatusCode::BAD_GATEWAY, "node", text)
            }
        }
    }
}

fn internal(text: &str) -> ApiError {
    tracing::error!(error = text, "a request failed");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
}

/// An error and its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
