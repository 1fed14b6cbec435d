@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.ai.edge.litertlm

@RequiresOptIn(level = RequiresOptIn.Level.ERROR)
annotation class ExperimentalApi

@ExperimentalApi
object ExperimentalFlags {
    var enableBenchmark: Boolean = false
    var enableSpeculativeDecoding: Boolean? = null
}

enum class LogSeverity { VERBOSE, DEBUG, INFO, WARNING, ERROR, FATAL, INFINITY }

sealed class Backend {
    data class CPU(
        val threadCount: Int? = null,
    ) : Backend()

    class GPU : Backend()
}

data class EngineConfig(
    val modelPath: String,
    val backend: Backend = Backend.CPU(),
    val visionBackend: Backend? = null,
    val audioBackend: Backend? = null,
    val maxNumTokens: Int? = null,
    val maxNumImages: Int? = null,
    val cacheDir: String? = null,
)

class Engine(
    val engineConfig: EngineConfig,
) : AutoCloseable {
    fun initialize() = Unit

    fun createConversation(config: ConversationConfig = ConversationConfig()): Conversation = Conversation()

    override fun close() = Unit

    companion object {
        fun setNativeMinLogSeverity(level: LogSeverity) = Unit
    }
}

class Contents private constructor() {
    companion object {
        fun of(text: String): Contents = Contents()
    }
}

data class SamplerConfig(
    val topK: Int,
    val topP: Double,
    val temperature: Double,
    val seed: Int = 0,
)

class ConversationConfig(
    val systemInstruction: Contents? = null,
    val samplerConfig: SamplerConfig? = null,
    val maxOutputToken: Int? = null,
    val enableSpeculativeDecoding: Boolean? = null,
)

class Message

interface MessageCallback {
    fun onMessage(message: Message)

    fun onDone()

    fun onError(throwable: Throwable)
}

class BenchmarkInfo(
    val lastPrefillTokenCount: Int,
    val lastDecodeTokenCount: Int,
    val lastPrefillTokensPerSecond: Double,
    val lastDecodeTokensPerSecond: Double,
)

class Conversation internal constructor() : AutoCloseable {
    fun sendMessageAsync(
        text: String,
        callback: MessageCallback,
    ) = Unit

    fun cancelProcess() = Unit

    @ExperimentalApi
    fun getBenchmarkInfo(): BenchmarkInfo = BenchmarkInfo(0, 0, 0.0, 0.0)

    override fun close() = Unit
}
