"""Makes chat calls through the gateway with the official client, and says how many succeeded.

The client's own retries are off: whatever goes wrong and is not mended by the gateway fails here.
"""

import asyncio
import sys

from openai import AsyncOpenAI, OpenAI

CALLS = 30
EXPECTED = "Stand firm: ä€😀"
MESSAGES = [{"role": "user", "content": "hello"}]


def main(base_url: str) -> None:
    client = OpenAI(base_url=base_url, api_key="sk-test", max_retries=0, timeout=30)
    for number in range(CALLS):
        answer = client.chat.completions.create(model="stand-in", messages=MESSAGES)
        assert answer.choices[0].message.content == EXPECTED, (number, answer)
        # Fields that the client does not know must be there all the same.
        assert answer.choices[0].message.reasoning_content == "because", answer
        assert answer.usage.prompt_cache_hit_tokens == 7, answer.usage
    for number in range(CALLS):
        events = client.chat.completions.create(model="stand-in", messages=MESSAGES, stream=True)
        text = "".join(event.choices[0].delta.content or "" for event in events)
        assert text == EXPECTED, (number, text)
    asyncio.run(together(base_url))
    print(f"{3 * CALLS} calls succeeded")


async def together(base_url: str) -> None:
    """Makes as many calls at once."""
    async with AsyncOpenAI(base_url=base_url, api_key="sk-test", max_retries=0, timeout=30) as client:
        create = client.chat.completions.create
        answers = await asyncio.gather(
            *(create(model="stand-in", messages=MESSAGES) for _ in range(CALLS))
        )
        assert all(answer.choices[0].message.content == EXPECTED for answer in answers)


main(sys.argv[1])
