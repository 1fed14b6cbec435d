package edgemtp.demo

import com.google.ai.edge.litertlm.Backend
import com.google.ai.edge.litertlm.Contents
import com.google.ai.edge.litertlm.Conversation
import com.google.ai.edge.litertlm.ConversationConfig
import com.google.ai.edge.litertlm.Engine
import com.google.ai.edge.litertlm.EngineConfig
import com.google.ai.edge.litertlm.ExperimentalApi
import com.google.ai.edge.litertlm.ExperimentalFlags
import com.google.ai.edge.litertlm.LogSeverity
import com.google.ai.edge.litertlm.Message
import com.google.ai.edge.litertlm.MessageCallback
import com.google.ai.edge.litertlm.SamplerConfig
import edgemtp.core.engine.EngineSettings
import edgemtp.core.engine.Reply
import edgemtp.core.engine.Request
import edgemtp.core.engine.StreamEnd
import java.io.File

/** Starts LiteRT-LM; the only file that knows it. Its flags are read as an engine starts. */
@OptIn(ExperimentalApi::class)
internal fun startRuntime(
    settings: EngineSettings,
    cache: File,
): Engine {
    Engine.setNativeMinLogSeverity(LogSeverity.INFO)
    ExperimentalFlags.enableBenchmark = true
    ExperimentalFlags.enableSpeculativeDecoding = settings.speculative
    val backend = if (settings.backend == edgemtp.core.engine.Backend.CPU) Backend.CPU() else Backend.GPU()
    val length = settings.maxContextTokens
    return Engine(EngineConfig(settings.bundlePath, backend, maxNumTokens = length, cacheDir = cache.path)).also {
        it.initialize()
    }
}

/** A new conversation for [request]. */
internal fun Engine.converse(request: Request): Conversation {
    val said = request.sampler
    return createConversation(
        ConversationConfig(
            systemInstruction = request.system?.let { Contents.of(it) },
            samplerConfig = SamplerConfig(said.topK, said.topP, said.temperature, said.seed),
            maxOutputToken = request.maxOutputTokens,
            enableSpeculativeDecoding = request.speculative,
        ),
    )
}

/** Sends [prompt] and returns when the stream is over. Not by Flow: its buffer would drop pieces that come too fast. */
@OptIn(ExperimentalApi::class)
internal fun Conversation.ask(
    prompt: String,
    onChunk: (String) -> Unit,
): Reply {
    val end = StreamEnd()
    sendMessageAsync(
        prompt,
        object : MessageCallback {
            override fun onMessage(message: Message): Unit = onChunk(message.toString())

            override fun onDone(): Unit = end.over(null)

            override fun onError(throwable: Throwable): Unit = end.over(throwable)
        },
    )
    if (end.await()) return Reply(null, null, null, null, cancelled = true)
    val said = getBenchmarkInfo()
    return Reply(
        inputTokens = said.lastPrefillTokenCount,
        outputTokens = said.lastDecodeTokenCount,
        prefillTps = said.lastPrefillTokensPerSecond.takeIf(Double::isFinite),
        decodeTps = said.lastDecodeTokensPerSecond.takeIf(Double::isFinite),
        cancelled = false,
    )
}
