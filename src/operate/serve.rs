//! `/metrics` and `/healthz`, for a monitoring system on the same machine or in the same room.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::sleep;

/// How often samples of histograms are condensed, so that they do not pile up unread.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why figures cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another [status] address, or leave the section out"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// As the system puts it.
        source: std::io::Error,
    },
    /// Another recorder of figures is there already.
    #[error("figures are kept by somebody else in this process: {0}")]
    Recorder(String),
    /// Serving ended.
    #[error("serving figures failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Begins to count, and listens on `address`; the future returned serves until `stop` turns true.
/// `healthy` is asked at each `/healthz`: 200 and `ok`, or 503 and its words.
pub async fn serve<F: Future<Output = Result<(), String>> + Send + 'static>(
    address: SocketAddr,
    healthy: impl Fn() -> F + Send + Sync + 'static,
    stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = Result<(), ServeError>> + Send + 'static, ServeError> {
    let figures = figures()?;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Address { address, source })?;
    tracing::info!(%address, "serving /metrics and /healthz");
    let routes = routes(figures.clone(), healthy);
    Ok(async move {
        let mut stopping = stop.clone();
        let upkeep = async move {
            loop {
                sleep(UPKEEP).await;
                figures.run_upkeep();
            }
        };
        let asked = async move {
            // A sender that is gone has the same meaning as one that says stop.
            stopping.wait_for(|stop| *stop).await.ok();
        };
        let serving = axum::serve(listener, routes).with_graceful_shutdown(asked);
        tokio::select! {
            served = serving.into_future() => Ok(served?),
            () = upkeep => Ok(()),
        }
    })
}

fn routes<F: Future<Output = Result<(), String>> + Send + 'static>(
    figures: PrometheusHandle,
    healthy: impl Fn() -> F + Send + Sync + 'static,
) -> Router {
    let healthy = Arc::new(healthy);
    Router::new().route("/metrics", get(move || async move { figures.render() })).route(
        "/healthz",
        get(move || async move {
            match healthy().await {
                Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                Err(words) => (StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n")),
            }
        }),
    )
}

/// The one recorder of this process: it is made once, and every node in it counts there.
fn figures() -> Result<PrometheusHandle, ServeError> {
    static FIGURES: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(figures) = FIGURES.get() {
        return Ok(figures.clone());
    }
    let made = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| ServeError::Recorder(error.to_string()))?;
    Ok(FIGURES.get_or_init(|| made).clone())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let question = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn figures_and_health_are_served_until_told_to_stop() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let (stop, stopping) = watch::channel(false);
        let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let asked = Arc::clone(&well);
        let healthy = move || {
            let well = asked.load(std::sync::atomic::Ordering::Relaxed);
            std::future::ready(well.then_some(()).ok_or("capture is stopped".to_owned()))
        };
        let serving = tokio::spawn(serve(address, healthy, stopping).await.unwrap());
        metrics::gauge!("headwater_test_figure").set(7.0);
        let answer = ask(address, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("headwater_test_figure 7"), "{answer}");
        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        well.store(false, std::sync::atomic::Ordering::Relaxed);
        let answer = ask(address, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("capture is stopped\n"), "{answer}");

        let taken = serve(address, || std::future::ready(Ok(())), stop.subscribe())
            .await
            .err()
            .expect("is taken");
        assert!(taken.to_string().contains("[status] address"), "{taken}");

        stop.send_replace(true);
        serving.await.unwrap().unwrap();
    }
}
