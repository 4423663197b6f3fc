"""AWS's own SDK at a simulated Bedrock: what it sends is taken, what it gets it reads. Run as
python aws.py URL MODEL ACCESS_KEY SECRET; owns no client of the matrix, for no caller of a proxy
speaks Converse."""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

DEPTH = {
    "toolSpec": {
        "name": "depth_of",
        "inputSchema": {"json": {"type": "object", "properties": {"river": {"type": "string"}}, "required": ["river"]}},
    }
}


def user(text: str) -> dict:
    return {"role": "user", "content": [{"text": text}]}


def main(url: str, model: str, key: str, secret: str):
    def client(secret: str):
        return boto3.client(
            "bedrock-runtime",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(retries={"max_attempts": 1}),
        )

    bedrock = client(secret)
    whole = bedrock.converse(modelId=model, messages=[user("one two")])
    assert whole["output"]["message"]["content"][0]["text"] == "echo: one two"
    assert whole["stopReason"] == "end_turn" and whole["usage"]["outputTokens"] > 0

    stream = bedrock.converse_stream(modelId=model, messages=[user("one two")])["stream"]
    events = list(stream)
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    assert "".join(deltas) == "echo: one two" and len(deltas) > 1
    assert events[-1]["metadata"]["usage"] == whole["usage"]

    asked = [user("please call the tool")]
    called = bedrock.converse(modelId=model, messages=asked, toolConfig={"tools": [DEPTH]})["output"]["message"]
    call = next(block["toolUse"] for block in called["content"] if "toolUse" in block)
    result = {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "21 m"}], "status": "success"}}
    asked += [called, {"role": "user", "content": [result]}]
    said = bedrock.converse(modelId=model, messages=asked, toolConfig={"tools": [DEPTH]})
    assert said["output"]["message"]["content"][0]["text"] == "The tool said: 21 m"

    try:
        client("wrong").converse(modelId=model, messages=[user("one two")])
    except ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidSignatureException", error
    else:
        raise AssertionError("a wrong signature was taken")


if __name__ == "__main__":
    main(*sys.argv[1:])
