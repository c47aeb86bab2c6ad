"""The routes of jobs and of their results."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from . import events, surveys, tasks
from .asking import DECODING, FOREVER, TYPES, asked, body_of
from .films import film
from .job import Job
from .work import perform

router = APIRouter()


@router.post("/api/jobs", status_code=202)
async def submit(request: Request) -> Any:
    """A job into the queue."""
    studio, visitor = request.app.state.studio, request.scope["pixelgrad.visitor"]
    studio.desk.room(visitor)  # before anything is looked up
    body = await body_of(request)
    if isinstance(body, dict) and "survey" in body:
        question = await to_thread.run_sync(surveys.read, body, studio.networks, studio.data)
        await asked(request, lambda: surveys.check(question, studio.networks))
        work = partial(surveys.perform, question=question, networks=studio.networks, store=studio.store)
    else:
        task = await to_thread.run_sync(tasks.read, body, studio.networks, studio.store)
        await asked(request, lambda: tasks.check(task, studio.networks))
        work = partial(perform, task=task, networks=studio.networks, store=studio.store)
    job = Job(work, visitor, stay=body.get("stay") is True)
    studio.desk.submit(job)
    return {"id": job.id, "position": job.position}


@router.get("/api/jobs/{made}")
def state(request: Request, made: str) -> Any:
    """Where a job is."""
    return _job(request, made).snapshot()


@router.get("/api/jobs/{made}/events")
def watch(request: Request, made: str) -> Response:
    """Where a job is, as it changes."""
    studio = request.app.state.studio
    stream = events.stream(_job(request, made), lambda: studio.closing)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


@router.post("/api/jobs/{made}/pause")
def pause(request: Request, made: str) -> Any:
    """Let a job rest."""
    job = _job(request, made)
    request.app.state.studio.desk.pause(job)
    return job.snapshot()


@router.post("/api/jobs/{made}/resume")
def resume(request: Request, made: str) -> Any:
    """Let a job go on."""
    job = _job(request, made)
    request.app.state.studio.desk.pause(job, False)
    return job.snapshot()


@router.delete("/api/jobs/{made}")
def cancel(request: Request, made: str) -> Any:
    """Stop a job."""
    job = _job(request, made)
    request.app.state.studio.desk.cancel(job)
    return job.snapshot()


def _job(request: Request, made: str) -> Job:
    job: Job | None = request.app.state.studio.desk.jobs.get(made)
    if job is None:
        raise HTTPException(404, "this job is not here (any more); start it again")
    job.look()
    return job


@router.get("/api/results/{made}")
def result(request: Request, made: str) -> Any:
    """All that is said about a result."""
    store = request.app.state.studio.store
    found = store.about("results", made)
    if found is None:
        raise HTTPException(404, "this result is not here (any more)")
    store.use("results", made)
    return found


@router.get("/api/results/{made}/{part}/{name}")
def piece(request: Request, made: str, part: str, name: str) -> Response:
    """A panel, its values, or a picture along the way."""
    kinds = {"panels": "panel", "frames": "frame"}
    return _kept(request, made, f"{kinds.get(part, 'no')}-{name}")


@router.get("/api/results/{made}/{name}")
async def whole(request: Request, made: str, name: str) -> Response:
    """A file to be saved; a film is made when it is first asked for."""
    if name in ("film.gif", "film.mp4"):
        await to_thread.run_sync(film, request.app.state.studio.store, made, name, limiter=DECODING)
    return await to_thread.run_sync(_kept, request, made, name)


def _kept(request: Request, made: str, name: str) -> Response:
    data = None if name == "about.json" else request.app.state.studio.store.read("results", made, name)
    if data is None:
        raise HTTPException(404, "this result is not here (any more)")
    kind = TYPES.get(Path(name).suffix, "application/octet-stream")
    return Response(data, headers=FOREVER, media_type=kind)
