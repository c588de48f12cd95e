//! Ctrl-C and SIGTERM: the site stops within a bound, also while an event stream or a WebSocket is open.

use std::{io, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, sync::oneshot, time::timeout};

/// How long requests and streams may take to end before they are cut off.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until Ctrl-C or SIGTERM, and then until all requests and streams have ended, for 5 s at most. `end_streams`
/// ends the streams, since none ends by itself and axum waits for them without a bound.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    end_streams: impl Future<Output = ()>,
) -> io::Result<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
    let server = tokio::spawn(server.into_future());
    asked_to_stop().await?;
    drop(stop);
    let all_ended = async {
        end_streams.await;
        server.await
    };
    match timeout(GRACE, all_ended).await {
        Ok(served) => served?,
        Err(_) => {
            eprintln!("requests or streams were still open after {GRACE:?}, and are cut off");
            Ok(())
        }
    }
}

/// Waits for Ctrl-C or, on Unix, for SIGTERM, which a service manager and a container runtime send.
async fn asked_to_stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
