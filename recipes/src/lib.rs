//! The recipes in docs/recipes, which the docs of the library show, compiled.

#[path = "../../docs/recipes/actix_identity.rs"]
pub mod actix_identity;
#[path = "../../docs/recipes/axum.rs"]
pub mod axum;
#[path = "../../docs/recipes/axum_login.rs"]
pub mod axum_login;
pub mod backend;
#[path = "../../docs/recipes/event_stream.rs"]
pub mod event_stream;
#[path = "../../docs/recipes/jwt.rs"]
pub mod jwt;
#[path = "../../docs/recipes/loco.rs"]
pub mod loco;
#[path = "../../docs/recipes/poem.rs"]
pub mod poem;
#[path = "../../docs/recipes/tonic.rs"]
pub mod tonic;
#[path = "../../docs/recipes/tower_sessions.rs"]
pub mod tower_sessions;
#[path = "../../docs/recipes/warp.rs"]
pub mod warp;
#[path = "../../docs/recipes/web_socket.rs"]
pub mod web_socket;
