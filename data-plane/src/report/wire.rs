//! Batches over gRPC as the bytes they already are.
//!
//! Owns: calling `Outcomes.Report` without encoding a batch again, which the generated
//! client would do for each sending.

use bytes::{BufMut as _, Bytes};
use http::uri::PathAndQuery;
use spillway_proto::pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_prost::ProstDecoder;

const REPORT: &str = "/spillway.v1.Outcomes/Report";

/// Opens a stream of batches, answered by what is stored.
pub(super) async fn report(
    channel: Channel,
    batches: mpsc::Receiver<Bytes>,
) -> Result<Streaming<pb::Stored>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    let unready = |_| Status::unavailable("the control plane cannot be reached");
    client.ready().await.map_err(unready)?;
    let batches = tonic::Request::new(ReceiverStream::new(batches));
    let path = PathAndQuery::from_static(REPORT);
    let stored = client.streaming(batches, path, Encoded).await?;
    Ok(stored.into_inner())
}

struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = pb::Stored;
    type Encoder = Self;
    type Decoder = ProstDecoder<pb::Stored>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}
