use std::{io, net::TcpListener};

use actix_identity::{IdentityExt, IdentityMiddleware};
use actix_session::{SessionMiddleware, storage::CookieSessionStore};
use actix_web::{
    App, Error, HttpServer,
    body::MessageBody,
    cookie::Key,
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    web::{self, Data, ServiceConfig},
};
use last_seen::Recorder;

/// `pages` configures your routes.
pub async fn serve(
    listener: TcpListener,
    pages: fn(&mut ServiceConfig),
    key: Key,
    recorder: Recorder,
) -> io::Result<()> {
    let (writer, recorder) = (recorder.clone(), Data::new(recorder));
    let app = move || {
        App::new()
            .app_data(recorder.clone())
            .configure(pages)
            // What is wrapped last runs first: the session, the identity, then the sighting.
            .wrap(from_fn(record))
            .wrap(IdentityMiddleware::default())
            .wrap(SessionMiddleware::new(CookieSessionStore::default(), key.clone()))
    };
    HttpServer::new(app).listen(listener)?.shutdown_timeout(5).run().await?; // until SIGINT or SIGTERM
    if let Err(error) = web::block(move || writer.close()).await.map_err(io::Error::other)? {
        eprintln!("the last sightings are lost: {error}");
    }
    Ok(())
}

async fn record(
    recorder: Data<Recorder>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if let Ok(user) = request.get_identity().and_then(|identity| identity.id()) {
        recorder.seen(user);
    }
    next.call(request).await
}
