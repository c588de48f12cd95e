use axum::{
    RequestPartsExt,
    extract::{FromRef, FromRequestParts},
    http::{StatusCode, request::Parts},
};
use axum_extra::{
    TypedHeader,
    headers::{Authorization, authorization::Bearer},
};
use jsonwebtoken::{DecodingKey, Validation, decode};
use last_seen::Recorder;
use serde::Deserialize;

/// The state of the router.
#[derive(Clone, FromRef)]
pub struct Site {
    pub recorder: Recorder,
    pub key: DecodingKey,
}

/// The extractor of every handler for signed-in users.
#[derive(Deserialize)]
pub struct Claims {
    pub sub: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Claims
where
    DecodingKey: FromRef<S>,
    Recorder: FromRef<S>,
{
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
        let header = parts.extract::<TypedHeader<Authorization<Bearer>>>().await;
        let TypedHeader(Authorization(bearer)) = header.map_err(|_| StatusCode::UNAUTHORIZED)?;
        let key = DecodingKey::from_ref(state);
        let token = decode::<Self>(bearer.token(), &key, &Validation::default());
        let claims = token.map_err(|_| StatusCode::UNAUTHORIZED)?.claims;
        Recorder::from_ref(state).seen(&claims.sub);
        Ok(claims)
    }
}
