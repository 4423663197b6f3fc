//! The gRPC doors: decode, call one method, encode.
//!
//! Owns: the services' thin handlers, who may call them, and how an error becomes a
//! status. The work is done by the modules named after the nouns.

mod operators;

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use spillway_proto::pb;
use spillway_proto::pb::outcomes_server::{Outcomes, OutcomesServer};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Interceptor;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};

use crate::control::Control;
use crate::error::ControlError;
use crate::outcomes;
use crate::policy::Fault;
use crate::publish::PublishError;
use crate::store::StoreError;
use crate::token::AdminToken;

/// What a proxy may send in one piece: to write a batch in pieces of 16 KiB takes it three
/// times as long, a quarter of a millisecond more.
const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// Batches acknowledged but not yet read by a proxy.
const ACKNOWLEDGEMENTS: usize = 16;

type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Handlers share the control plane.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    control: Arc<Control>,
}

/// All services with reflection and health. Proxies may report without the operators'
/// token: the listener is on loopback, or behind what authenticates them.
pub(crate) async fn router(
    control: Arc<Control>,
    token: AdminToken,
) -> Result<Router, tonic_reflection::server::Error> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
        .build_v1()?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<OutcomesServer<Service>>().await;
    let service = Service { control };
    let guard = Guard { token };
    Ok(Server::builder()
        .max_frame_size(FRAME_BYTES_MAX)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(OutcomesServer::new(service.clone()))
        .add_service(pb::policies_server::PoliciesServer::with_interceptor(
            service.clone(),
            guard.clone(),
        ))
        .add_service(pb::tables_server::TablesServer::with_interceptor(
            service.clone(),
            guard.clone(),
        ))
        .add_service(pb::training_server::TrainingServer::with_interceptor(
            service.clone(),
            guard.clone(),
        ))
        .add_service(pb::fleet_server::FleetServer::with_interceptor(
            service.clone(),
            guard.clone(),
        ))
        .add_service(pb::what_if_server::WhatIfServer::with_interceptor(
            service, guard,
        )))
}

/// Lets operators in.
#[derive(Clone, Debug)]
struct Guard {
    token: AdminToken,
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let header = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        if self.token.admits(header) {
            return Ok(request);
        }
        Err(Status::unauthenticated(
            "send the operators' token as `authorization: Bearer …`; it is in admin.token in the data directory",
        ))
    }
}

#[tonic::async_trait]
impl Outcomes for Service {
    type ReportStream = BoxStream<pb::Stored>;

    async fn report(
        &self,
        request: Request<Streaming<pb::Batch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let mut batches = request.into_inner();
        let control = Arc::clone(&self.control);
        let (acknowledge, acknowledged) = tokio::sync::mpsc::channel(ACKNOWLEDGEMENTS);
        tokio::spawn(async move {
            while let Some(batch) = batches.next().await {
                let stored = match batch {
                    Ok(batch) => outcomes::store(&control, batch)
                        .await
                        .map_err(|e| status(&e)),
                    Err(status) => Err(status),
                };
                let failed = stored.is_err();
                let answer = stored.map(|last| pb::Stored { last });
                if acknowledge.send(answer).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(acknowledged))))
    }
}

/// An error as a gRPC status: whose fault it is, and everything that caused it.
pub(crate) fn status(error: &ControlError) -> Status {
    let message = error.chain();
    match error {
        ControlError::Policy(faults) => Status::invalid_argument(listed(faults)),
        ControlError::BadRequest(_) => Status::invalid_argument(message),
        ControlError::PolicyConflict { .. } | ControlError::Publish(PublishError::Stale { .. }) => {
            Status::aborted(message)
        }
        ControlError::NotFound { .. } | ControlError::Publish(PublishError::NoSuchVersion(_)) => {
            Status::not_found(message)
        }
        ControlError::AlreadyTraining(_) | ControlError::Publish(PublishError::Flawed(_)) => {
            Status::failed_precondition(message)
        }
        ControlError::Overtaken | ControlError::Store(StoreError::Conflict { .. }) => {
            Status::aborted(message)
        }
        ControlError::Store(_) | ControlError::Publish(_) | ControlError::History(_) => {
            Status::unavailable(message)
        }
    }
}

fn listed(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
