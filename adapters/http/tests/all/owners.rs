//! Whose things are whose: every route, with every verb, for the owner, somebody else, an admin and nobody.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use microserve_core::account::{Account, AuthStore};
use microserve_core::job::{Job, JobStore};

use crate::common::{Answer, World, add_account};

/// What a route does with somebody's thing, by verb: what is left out isn't there.
struct Route {
    path: &'static str,
    verbs: &'static [(&'static str, u16)],
}

/// `{done}`, `{failed}`, `{queued}` and `{part}` are jobs in these states, `{mp3}` is the done one's MP3.
const ROUTES: [Route; 14] = [
    Route { path: "/jobs/{done}", verbs: &[("GET", 200), ("HEAD", 200), ("DELETE", 204)] },
    Route { path: "/jobs/{queued}", verbs: &[("GET", 200), ("HEAD", 200), ("DELETE", 202)] },
    Route { path: "/jobs/{done}/events", verbs: &[("GET", 200), ("HEAD", 200)] },
    Route { path: "/jobs/{failed}/retry", verbs: &[("POST", 202)] },
    Route { path: "/jobs/{done}/retry", verbs: &[("POST", 409)] },
    Route { path: "/jobs/{done}/link", verbs: &[("POST", 201), ("DELETE", 204)] },
    Route { path: "/jobs/{queued}/link", verbs: &[("POST", 409), ("DELETE", 204)] },
    Route { path: "/download?fid={done}", verbs: &[("GET", 200), ("HEAD", 200)] },
    Route { path: "/download?fid={mp3}", verbs: &[("GET", 200), ("HEAD", 200)] },
    Route { path: "/download?fid={queued}", verbs: &[("GET", 409), ("HEAD", 409)] },
    Route { path: "/files/{part}", verbs: &[("HEAD", 200), ("PATCH", 204), ("DELETE", 204), ("POST", 405)] },
    Route { path: "/files/{done}", verbs: &[("HEAD", 404), ("PATCH", 404), ("DELETE", 404), ("POST", 405)] },
    // Without a thing of somebody's: these show and make the caller's own.
    Route { path: "/jobs", verbs: &[("GET", 200), ("HEAD", 200)] },
    Route { path: "/me", verbs: &[("GET", 200), ("HEAD", 200), ("DELETE", 204)] },
];

const VERBS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Anna's things, in a world of their own.
struct Things {
    world: World,
    done: Job,
    failed: String,
    queued: String,
    part: String,
}

impl Things {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.token("anna@example.com").await;
        let [done, failed, queued] =
            [world.upload(&token).await, world.upload(&token).await, world.upload(&token).await];
        let done = world.convert(&done, b"an mp3").await;
        let (now, policy) = (world.clock.now(), microserve_core::job::Policy::default());
        let job = world.jobs.get(failed.parse().unwrap()).await.unwrap().unwrap();
        world.jobs.update(job.cancel(now, &policy).unwrap()).await.unwrap();
        let create = Request::post("/files").header("tus-resumable", "1.0.0").header("upload-length", 9);
        let create = create.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        let part = world.send(create).await.header("location").rsplit('/').next().unwrap().to_owned();
        Self { world, done, failed, queued, part }
    }

    async fn send(&self, verb: &str, path: &str, token: Option<&str>) -> Answer {
        let path = path
            .replace("{done}", &self.done.id.to_string())
            .replace("{mp3}", &self.done.mp3().unwrap().to_string())
            .replace("{failed}", &self.failed)
            .replace("{queued}", &self.queued)
            .replace("{part}", &self.part);
        let mut request = Request::builder().method(Method::from_bytes(verb.as_bytes()).unwrap()).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request = request.header("tus-resumable", "1.0.0").header("upload-offset", 0);
        request = request.header("content-type", "application/offset+octet-stream");
        self.world.send(request.body(Body::from(if verb == "PATCH" { "RIFF" } else { "" })).unwrap()).await
    }

    async fn rows(&self) -> Vec<Option<Job>> {
        let ids = [&self.done.id.to_string(), &self.failed, &self.queued, &self.part];
        let mut rows = Vec::new();
        for id in ids {
            rows.push(self.world.jobs.get(id.parse().unwrap()).await.unwrap());
        }
        rows
    }
}

#[tokio::test]
async fn only_the_owner_reaches_what_is_theirs() {
    let mut things = Things::new().await;
    let world = &things.world;
    add_account(&world.accounts, &*world.clock, "bea@example.com").await;
    let boss = add_account(&world.accounts, &*world.clock, "boss@example.com").await;
    world.accounts.delete(boss.id).await.unwrap();
    world.accounts.insert(&Account { admin: true, ..boss }).await.unwrap();
    let [bea, boss] = [world.token("bea@example.com").await, world.token("boss@example.com").await];
    assert_eq!(world.get(&boss, "/me").await.json()["admin"], true);
    let before = things.rows().await;
    let mut denied = 0;
    for Route { path, verbs } in ROUTES {
        let is_own = matches!(path, "/jobs" | "/me");
        for verb in VERBS {
            let is_there = verbs.iter().any(|(there, _)| *there == verb);
            let what = format!("{verb} {path}");
            let nobody = things.send(verb, path, None).await;
            // What a resource can do is told to everybody (tus), and a verb that isn't there needs no owner.
            let expected: &[u16] = match (is_there, verb) {
                (true, "POST") if path.starts_with("/files") => &[405, 401],
                (true, _) => &[401],
                (false, "OPTIONS") if path.starts_with("/files") => &[204],
                (false, _) if path.starts_with("/files") => &[405, 401, 404],
                (false, _) => &[405],
            };
            assert!(expected.contains(&nobody.status.as_u16()), "{what} by nobody: {nobody:?}");
            if !is_there || is_own {
                continue;
            }
            for (name, token) in [("another", &bea), ("an admin", &boss)] {
                let answer = things.send(verb, path, Some(token)).await;
                let refused = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
                assert!(refused, "{what} by {name}: {answer:?}");
                denied += 1;
            }
        }
    }
    assert!(denied >= 44, "{denied}");
    assert_eq!(things.rows().await, before, "and nothing was touched");
    for (name, token) in [("another", &bea), ("an admin", &boss)] {
        let answer = things.send("GET", "/jobs", Some(token)).await;
        assert_eq!(answer.json()["jobs"], serde_json::json!([]), "{name} sees nothing of hers");
    }

    // And she does, so that the refusals above are not for another reason.
    for Route { path, verbs } in ROUTES {
        for (verb, status) in verbs {
            things = Things::new().await;
            let token = things.world.token("anna@example.com").await;
            let answer = things.send(verb, path, Some(&token)).await;
            assert_eq!(answer.status.as_u16(), *status, "{verb} {path} by its owner: {answer:?}");
        }
    }
}
