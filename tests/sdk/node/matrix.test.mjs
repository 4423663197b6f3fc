// Every client SDK, every provider's dialect, every feature: one cell, one test.

import { test } from "node:test";

import { AIAnthropic, AIGoogle, AIOpenAIChat, AIOpenAIResponses, AIOpenAIResponsesUnstored } from "./ai.mjs";
import { AnthropicMessages } from "./anthropic.mjs";
import { FEATURES, PROVIDERS } from "./features.mjs";
import { loss } from "./losses.mjs";
import { OpenAIChat } from "./openai-chat.mjs";
import { OpenAIResponses } from "./openai-responses.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const CLIENTS = [
  OpenAIChat,
  OpenAIResponses,
  AnthropicMessages,
  AIOpenAIChat,
  AIOpenAIResponses,
  AIOpenAIResponsesUnstored,
  AIAnthropic,
  AIGoogle,
];

for (const Client of CLIENTS) {
  for (const provider of PROVIDERS) {
    for (const feature of Object.keys(FEATURES)) {
      const lost = loss(Client.id, provider, feature);
      const cell = [Client.id, provider, feature, ...(lost ? [`without ${lost.name}`] : [])];
      const check = lost ? lost.check : (client) => FEATURES[feature](client, provider);
      test(cell.join(" / "), { timeout: 60_000 }, () => check(new Client(), provider, feature));
    }
  }
}
