use http::request::Parts;
use last_seen::{Recorder, SeenLayer};
use tonic::{
    Request, Status,
    service::InterceptorLayer,
    transport::server::{Server, TcpIncoming},
};

/// The user, inserted by [`authenticate`].
#[derive(Clone)]
struct User(String);

pub async fn serve(
    listener: tokio::net::TcpListener,
    recorder: Recorder,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error>> {
    let (_, service) = tonic_health::server::health_reporter(); // in place of your service
    Server::builder()
        // The layer that is added first runs first: authentication, then the sighting.
        .layer(InterceptorLayer::new(authenticate))
        .layer(SeenLayer::new(recorder.clone(), identify))
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop)
        .await?;
    if let Err(error) = tokio::task::spawn_blocking(move || recorder.close()).await? {
        eprintln!("not written: {error}");
    }
    Ok(())
}

fn authenticate(mut request: Request<()>) -> Result<Request<()>, Status> {
    let token = request.metadata().get("authorization").and_then(|token| token.to_str().ok());
    let user = token.and_then(crate::backend::user_of); // your check of a token
    let user = user.ok_or_else(|| Status::unauthenticated("a token is needed"))?;
    request.extensions_mut().insert(User(user));
    Ok(request)
}

fn identify(parts: &Parts) -> Option<String> {
    parts.extensions.get().map(|User(name)| name.clone())
}
