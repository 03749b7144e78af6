"""Flyte's admin service as far as launching goes, over its own protocol: a gRPC server on 127.0.0.1 that keeps
executions by name, refuses a name twice, and lists by phase, a page at a time.
"""

# ruff: noqa: N802 - the protocol's names
from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from flyteidl.admin import execution_pb2, launch_plan_pb2, workflow_pb2
from flyteidl.core import execution_pb2 as phases
from flyteidl.service import admin_pb2_grpc
from flytekit import LaunchPlan
from flytekit.configuration import Config, Image, ImageConfig, PlatformConfig, SerializationSettings
from flytekit.remote import FlyteRemote
from flytekit.tools.translator import get_serializable

from tasks.remote import WORKFLOW

PROJECT, DOMAIN, VERSION = "flywheel", "development", "v7"


class Admin(admin_pb2_grpc.AdminServiceServicer):  # type: ignore[misc]
    """Executions by name; `asked` counts the creations that were tried."""

    def __init__(self, plan: LaunchPlan) -> None:
        settings = SerializationSettings(
            project=PROJECT,
            domain=DOMAIN,
            version=VERSION,
            image_config=ImageConfig(default_image=Image(name="default", fqn="none", tag="none")),
        )
        self.plan = get_serializable(OrderedDict(), settings, plan).to_flyte_idl()
        spec = get_serializable(OrderedDict(), settings, plan.workflow).to_flyte_idl()
        self.workflow = workflow_pb2.Workflow(id=spec.template.id)
        template = self.workflow.closure.compiled_workflow.primary.template
        template.id.CopyFrom(spec.template.id)
        template.interface.CopyFrom(spec.template.interface)  # its inputs are all that a launch looks at
        self.executions: dict[str, Any] = {}
        self.asked = 0

    def add(self, name: str, phase: str, workflow: str = WORKFLOW) -> None:
        """An execution that is there already."""
        found = execution_pb2.Execution()
        found.id.project, found.id.domain, found.id.name = PROJECT, DOMAIN, name
        found.closure.workflow_id.name = workflow
        found.closure.phase = phases.WorkflowExecution.Phase.Value(phase)
        self.executions[name] = found

    def ListLaunchPlans(self, request: Any, context: Any) -> Any:
        assert (request.id.project, request.id.domain, request.id.name) == (PROJECT, DOMAIN, self.plan.id.name)
        return launch_plan_pb2.LaunchPlanList(launch_plans=[self.plan])

    def GetLaunchPlan(self, request: Any, context: Any) -> Any:
        return self.plan

    def GetWorkflow(self, request: Any, context: Any) -> Any:
        return self.workflow

    def CreateExecution(self, request: Any, context: Any) -> Any:
        self.asked += 1
        if request.name in self.executions:
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "execution already exists")
        self.add(request.name, "QUEUED")
        self.executions[request.name].spec.CopyFrom(request.spec)
        self.executions[request.name].spec.inputs.CopyFrom(request.inputs)
        return execution_pb2.ExecutionCreateResponse(id=self.executions[request.name].id)

    def GetExecution(self, request: Any, context: Any) -> Any:
        return self.executions[request.id.name]

    def ListExecutions(self, request: Any, context: Any) -> Any:
        assert (request.id.project, request.id.domain) == (PROJECT, DOMAIN)
        wanted = re.fullmatch(r"value_in\(phase,(.*)\)", request.filters)
        assert wanted is not None, request.filters
        names = wanted.group(1).split(";")
        phase = phases.WorkflowExecution.Phase
        found = [each for each in self.executions.values() if phase.Name(each.closure.phase) in names]
        begin = int(request.token or 0)
        end = begin + min(2, request.limit)  # small pages, so that somebody has to turn them
        token = str(end) if end < len(found) else ""
        return execution_pb2.ExecutionList(executions=found[begin:end], token=token)


@contextmanager
def run_admin(plan: LaunchPlan) -> Iterator[tuple[Admin, FlyteRemote]]:
    """The service, and a real remote that talks to it; stopped at the end."""
    admin, server = Admin(plan), grpc.server(ThreadPoolExecutor(4))
    admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        platform = PlatformConfig(endpoint=f"127.0.0.1:{port}", insecure=True)
        yield admin, FlyteRemote(Config(platform=platform), default_project=PROJECT, default_domain=DOMAIN)
    finally:
        server.stop(None).wait()
