//! Requests that ask nothing of a model: lists of models, what is stored, wrong paths.
//!
//! Owns: their answers. They are free, take no time, know no faults and are in no ledger.
//! It must not know how a model is asked.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};

use crate::ask::Refusal;
use crate::exchange::{Body, Host};
use crate::ledger::Ledger;
use crate::route::{NoRoute, Route};
use crate::shelf::{CancelFlaw, Shelf};
use crate::wire::{Family, Marks, Signed};

/// Answers what no model is asked for.
pub(crate) fn errand<B>(
    host: &Host,
    route: Result<Route, NoRoute>,
    request: &Request<B>,
    marks: Marks,
) -> Response<Body> {
    let family = match &route {
        Ok(Route::Models(family)) => *family,
        Ok(Route::Look(family, _) | Route::Forget(family, _) | Route::Cancel(family, _)) => *family,
        Ok(Route::Call(call)) => call.wire.family(),
        Err(NoRoute::Unknown(family)) => {
            let refusal = Refusal::new(404, "Unknown request URL");
            return refused(*family, &refusal, marks);
        }
        Err(NoRoute::Method(family)) => {
            let refusal = Refusal::new(405, "Method not allowed");
            return refused(*family, &refusal, marks);
        }
    };
    let query = request.uri().query().unwrap_or_default();
    let key = family.key(request.headers(), query);
    let owner = key.as_deref().map(Ledger::key_hash);
    let shelf = host.shelf(family);
    let body = host
        .check_key(family, key.as_deref())
        .and_then(|()| family.check_signature(bodiless(request)))
        .and_then(|()| match route {
            Ok(Route::Look(family, id)) => look(shelf, family, &id, owner, query),
            Ok(Route::Forget(family, id)) => {
                if shelf.forget(&id, owner) {
                    Ok(family.forgotten(&id))
                } else {
                    Err(family.not_stored(&id))
                }
            }
            Ok(Route::Cancel(family, id)) => match shelf.cancel(&id, owner) {
                Ok(response) => Ok(response.to_string()),
                Err(CancelFlaw::Unknown) => Err(family.not_stored(&id)),
                Err(CancelFlaw::Synchronous) => Err(family.not_cancellable()),
            },
            Ok(Route::Models(_) | Route::Call(_)) | Err(_) => {
                let names: Vec<&str> = host.models.keys().map(String::as_str).collect();
                Ok(family.model_list(&host.name, &names))
            }
        });
    match body {
        Ok(body) => json_response(200, body),
        Err(refusal) => refused(family, &refusal, marks),
    }
}

/// A request that carries nothing, as far as it is signed.
fn bodiless<B>(request: &Request<B>) -> Signed<'_> {
    Signed {
        method: request.method(),
        uri: request.uri(),
        headers: request.headers(),
        body: &[],
    }
}

fn look(
    shelf: &Shelf,
    family: Family,
    id: &str,
    owner: Option<u64>,
    query: &str,
) -> Result<String, Refusal> {
    let asked = |pair: &str| query.split('&').any(|asked| asked == pair);
    let mut stored = shelf.look(id, owner).ok_or_else(|| family.not_stored(id))?;
    if family == Family::Gemini {
        if asked("stream=true") {
            return Err(Refusal::invalid(
                "Only interactions in the background can be streamed again.",
            ));
        }
        if !asked("include_input=true")
            && let Some(members) = stored.as_object_mut()
        {
            members.remove("input");
        }
    }
    Ok(stored.to_string())
}

/// A refusal in the form of its wire.
pub(crate) fn refused(family: Family, refusal: &Refusal, marks: Marks) -> Response<Body> {
    let mut response = json_response(refusal.status, family.refusal_body(refusal, marks));
    for (name, value) in family.error_headers(refusal) {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn json_response(status: u16, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
