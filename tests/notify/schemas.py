"""What Slack and PagerDuty take, as JSON schemas: the limits that their documentation states, and no unknown key.

Slack: https://docs.slack.dev/reference/block-kit/blocks, PagerDuty: https://developer.pagerduty.com/docs/send-alert-event
"""

from __future__ import annotations

from typing import Any

import jsonschema

_MRKDWN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "text"],
    "properties": {"type": {"const": "mrkdwn"}, "text": {"type": "string", "minLength": 1, "maxLength": 2000}},
}
SLACK: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["text", "blocks"],
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40_000},
        "blocks": {
            "type": "array",
            "minItems": 1,
            "maxItems": 50,
            "items": {
                "oneOf": [
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "text"],
                        "properties": {
                            "type": {"const": "header"},
                            "text": {
                                "type": "object",
                                "additionalProperties": False,
                                "required": ["type", "text"],
                                "properties": {
                                    "type": {"const": "plain_text"},
                                    "text": {"type": "string", "minLength": 1, "maxLength": 150},
                                },
                            },
                        },
                    },
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "fields"],
                        "properties": {
                            "type": {"const": "section"},
                            "fields": {"type": "array", "minItems": 1, "maxItems": 10, "items": _MRKDWN},
                        },
                    },
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["type", "elements"],
                        "properties": {
                            "type": {"const": "context"},
                            "elements": {"type": "array", "minItems": 1, "maxItems": 10, "items": _MRKDWN},
                        },
                    },
                ]
            },
        },
    },
}
_ACT = {
    "routing_key": {"type": "string", "pattern": "^[0-9a-zA-Z]{32}$"},
    "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255},
}
PAGERDUTY: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "oneOf": [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["routing_key", "event_action", "dedup_key"],
            "properties": {**_ACT, "event_action": {"enum": ["acknowledge", "resolve"]}},
        },
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["routing_key", "event_action", "payload"],
            "properties": {
                **_ACT,
                "event_action": {"const": "trigger"},
                "client": {"type": "string"},
                "client_url": {"type": "string", "format": "uri"},
                "links": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["href"],
                        "properties": {"href": {"type": "string"}, "text": {"type": "string"}},
                    },
                },
                "payload": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["summary", "source", "severity"],
                    "properties": {
                        "summary": {"type": "string", "minLength": 1, "maxLength": 1024},
                        "source": {"type": "string", "minLength": 1},
                        "severity": {"enum": ["critical", "warning", "error", "info"]},
                        "timestamp": {
                            "type": "string",
                            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(\+00:00|Z)$",
                        },
                        "component": {"type": "string"},
                        "group": {"type": "string"},
                        "class": {"type": "string"},
                        "custom_details": {"type": "object"},
                    },
                },
            },
        },
    ],
}


def check(schema: dict[str, Any], payload: object) -> None:
    """Raises where a payload is not what the schema says."""
    jsonschema.Draft202012Validator(schema).validate(payload)
