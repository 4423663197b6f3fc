//! The operators' services: policy, tables, training, fleet, what-if.

use std::sync::Arc;

use spillway_proto::convert::{decode_table, encode_table};
use spillway_proto::pb;
use spillway_routing::id::TableVersion;
use spillway_routing::unit::UnixMillis;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use super::{BoxStream, Service, status};
use crate::control::now;
use crate::error::ControlError;
use crate::policy::{self, Fault};
use crate::{training, whatif};

fn failed(error: impl Into<ControlError>) -> Status {
    status(&error.into())
}

fn fault(fault: &Fault) -> pb::PolicyFault {
    pb::PolicyFault {
        line: fault
            .line
            .and_then(|line| u32::try_from(line).ok())
            .unwrap_or(0),
        field: fault.field.clone(),
        message: fault.message.clone(),
    }
}

#[tonic::async_trait]
impl pb::policies_server::Policies for Service {
    async fn get(
        &self,
        _: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::PolicyVersion>, Status> {
        let policy = self.control.policies.current().await.map_err(failed)?;
        let policy = policy.ok_or_else(|| Status::not_found("no policy was published yet"))?;
        Ok(Response::new(pb::PolicyVersion {
            version: policy.version,
            text: policy.text,
            author: policy.author,
            at_ms: policy.at.0,
        }))
    }

    async fn validate(
        &self,
        request: Request<pb::ValidatePolicyRequest>,
    ) -> Result<Response<pb::ValidatePolicyResponse>, Status> {
        let faults = policy::faults(&request.into_inner().text);
        Ok(Response::new(pb::ValidatePolicyResponse {
            faults: faults.iter().map(fault).collect(),
        }))
    }

    async fn put(
        &self,
        request: Request<pb::PutPolicyRequest>,
    ) -> Result<Response<pb::PutPolicyResponse>, Status> {
        let put = request.into_inner();
        let (version, table) = self
            .control
            .put_policy(&put.text, put.expected_version, &put.author)
            .await
            .map_err(failed)?;
        Ok(Response::new(pb::PutPolicyResponse {
            version,
            table_version: table.0,
        }))
    }
}

#[tonic::async_trait]
impl pb::tables_server::Tables for Service {
    async fn list(
        &self,
        _: Request<pb::ListTablesRequest>,
    ) -> Result<Response<pb::ListTablesResponse>, Status> {
        let current = self
            .control
            .publisher
            .current_version()
            .await
            .map_err(failed)?;
        let mut tables = Vec::new();
        for manifest in self.control.publisher.versions().await.map_err(failed)? {
            let (_, draft) = self
                .control
                .publisher
                .version(manifest.version)
                .await
                .map_err(failed)?;
            tables.push(pb::TableSummary {
                version: manifest.version.0,
                parent: manifest.parent.0,
                made_at_ms: manifest.made_at.0,
                note: draft.note.clone(),
                digest: manifest.digest.to_vec(),
                routes: u32::try_from(draft.routes.len()).unwrap_or(u32::MAX),
                lanes: u32::try_from(draft.lanes.len()).unwrap_or(u32::MAX),
                learned: draft.routes.iter().any(|route| route.learned),
            });
        }
        Ok(Response::new(pb::ListTablesResponse {
            current: current.0,
            tables,
        }))
    }

    async fn get(
        &self,
        request: Request<pb::GetTableRequest>,
    ) -> Result<Response<pb::GetTableResponse>, Status> {
        let publisher = &self.control.publisher;
        let version = match request.into_inner().version {
            0 => publisher.current_version().await.map_err(failed)?,
            version => TableVersion(version),
        };
        let (_, draft) = publisher.version(version).await.map_err(failed)?;
        Ok(Response::new(pb::GetTableResponse {
            payload: encode_table(&draft),
        }))
    }

    async fn publish(
        &self,
        request: Request<pb::PublishTableRequest>,
    ) -> Result<Response<pb::PublishTableResponse>, Status> {
        let request = request.into_inner();
        let mut draft = decode_table(&request.payload).map_err(|error| {
            Status::invalid_argument(format!("the table cannot be read: {error}"))
        })?;
        let parent = TableVersion(request.expected_parent);
        let probes = std::mem::take(&mut draft.probes);
        let version = self
            .control
            .publisher
            .publish(draft, parent, probes, now())
            .await
            .map_err(failed)?;
        self.control.metrics.tables_published.inc();
        Ok(Response::new(pb::PublishTableResponse {
            version: version.0,
        }))
    }

    async fn roll_back(
        &self,
        request: Request<pb::RollBackRequest>,
    ) -> Result<Response<pb::PublishTableResponse>, Status> {
        let request = request.into_inner();
        let (to, current) = (
            TableVersion(request.to_version),
            TableVersion(request.expected_current),
        );
        let version = self.control.roll_back(to, current).await.map_err(failed)?;
        Ok(Response::new(pb::PublishTableResponse {
            version: version.0,
        }))
    }
}

#[tonic::async_trait]
impl pb::training_server::Training for Service {
    type WatchStream = BoxStream<pb::TrainingProgress>;

    async fn start(
        &self,
        _: Request<pb::StartTrainingRequest>,
    ) -> Result<Response<pb::StartTrainingResponse>, Status> {
        let run = training::start(&self.control).await.map_err(failed)?;
        Ok(Response::new(pb::StartTrainingResponse { run }))
    }

    /// The progress of one run up to its end.
    async fn watch(
        &self,
        request: Request<pb::WatchTrainingRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let wanted = request.into_inner().run;
        let control = Arc::clone(&self.control);
        let mut done = false;
        let steps = WatchStream::new(control.runs.watch())
            .filter_map(move |progress| progress.filter(|progress| progress.run >= wanted))
            .take_while(move |progress| {
                let go_on = !done && progress.run == wanted;
                done = progress.ended.is_some();
                go_on
            })
            .map(|progress| {
                let ended = progress.ended;
                Ok(pb::TrainingProgress {
                    run: progress.run,
                    step: progress.step,
                    done_permille: (progress.done * 1_000.0) as u32,
                    result: ended
                        .as_ref()
                        .map(|e| e.result.name().to_owned())
                        .unwrap_or_default(),
                    reason: ended.map(|e| e.reason).unwrap_or_default(),
                })
            });
        Ok(Response::new(Box::pin(steps)))
    }
}

#[tonic::async_trait]
impl pb::fleet_server::Fleet for Service {
    async fn list(
        &self,
        _: Request<pb::ListProxiesRequest>,
    ) -> Result<Response<pb::ListProxiesResponse>, Status> {
        let control = &self.control;
        let members = control
            .fleet
            .members(&control.store, now())
            .await
            .map_err(failed)?;
        let proxies = members.into_iter().map(|member| pb::ProxyState {
            acknowledgement: Some(member.acknowledgement),
            state: member.condition.name().to_owned(),
            last_seen_ms: member.last_seen.0,
        });
        Ok(Response::new(pb::ListProxiesResponse {
            proxies: proxies.collect(),
        }))
    }
}

#[tonic::async_trait]
impl pb::what_if_server::WhatIf for Service {
    async fn compare(
        &self,
        request: Request<pb::WhatIfRequest>,
    ) -> Result<Response<pb::WhatIfResponse>, Status> {
        let request = request.into_inner();
        let (since, until) = (UnixMillis(request.since_ms), UnixMillis(request.until_ms));
        let limit = request.limit as usize;
        let compared = whatif::compare(&self.control, &request.policy, since, until, limit).await;
        let compared = compared.map_err(failed)?;
        let after = compared.quality_after;
        Ok(Response::new(pb::WhatIfResponse {
            requests: compared.requests,
            changed: compared.changed,
            refused: compared.refused,
            cost_before_nano_usd: compared.cost_before.0,
            cost_after_nano_usd: compared.cost_after.0,
            quality_before: compared.quality_before,
            quality_after: after.doubly_robust,
            quality_low: after.interval.map(|(low, _)| low),
            quality_high: after.interval.map(|(_, high)| high),
            quality_after_predicted: after.direct,
            quality_after_self_normalised: after.self_normalised,
            coverage: compared.coverage,
            effective_samples: after.effective_samples,
        }))
    }
}
