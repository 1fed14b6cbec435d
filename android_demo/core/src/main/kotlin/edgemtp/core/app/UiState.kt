package edgemtp.core.app

import edgemtp.core.run.EndReason
import edgemtp.core.run.Notice
import edgemtp.core.run.Progress

/** What the screen shows; one of these at a time. [notices] are what the user must know there. */
sealed interface UiState {
    val notices: List<Notice>

    /** Choosing a bundle, a plan, a log. Names of files. */
    data class Choosing(
        val bundles: List<String>,
        val plans: List<String>,
        val logs: List<String>,
        override val notices: List<Notice>,
    ) : UiState

    /** Something that takes long; [totalBytes] is null where there is no end in sight. */
    data class Busy(
        val task: Task,
        val doneBytes: Long,
        val totalBytes: Long?,
        override val notices: List<Notice> = emptyList(),
    ) : UiState

    /** A bundle is loaded and can be talked to. [speculative] is the switch, [canDraft] whether it may be on. */
    data class Chat(
        val bundle: String,
        val canDraft: Boolean,
        val speculative: Boolean,
        val turns: List<Turn>,
        val replying: Boolean,
        val figures: Figures?,
        override val notices: List<Notice>,
    ) : UiState

    /** A plan is being run unattended; the screen is dimmed. */
    data class Running(
        val log: String,
        val progress: Progress?,
        override val notices: List<Notice>,
    ) : UiState

    /** A run has ended. */
    data class Ended(
        val log: String,
        val reason: EndReason,
        val speedUp: String,
        override val notices: List<Notice>,
    ) : UiState
}

/** What takes long. */
enum class Task(
    val label: String,
) {
    /** Copying a file into the app. */
    IMPORTING("Importing"),

    /** Working out sha256. */
    CHECKING("Checking"),

    /** Starting the runtime; the first start repacks the weights. */
    LOADING("Loading"),
}

/** A prompt and as much of its reply as has come. */
data class Turn(
    val prompt: String,
    val reply: String,
)

/** Live figures of a reply. Null is "not known yet". */
data class Figures(
    /** Draft-and-verify cycles a second, which the app times itself. */
    val cyclesPerSecond: Double?,
    /** Tokens a second: the runtime's own once the reply has ended, until then estimated from [tokensPerCycle]. */
    val tokensPerSecond: Double?,
    /** Tokens a cycle of this reply, or of the last one while this one is coming. */
    val tokensPerCycle: Double?,
    val ttftMs: Double?,
    /** Whether the reply has ended, so that nothing is an estimate. */
    val final: Boolean,
) {
    /** One line for the screen. */
    fun line(): String =
        listOfNotNull(
            tokensPerSecond?.let { "${if (final) "" else "≈ "}${shown(it)} tok/s" },
            tokensPerCycle?.let { "${shown(it)} tokens a draft cycle" },
            cyclesPerSecond?.let { "${shown(it)} cycles/s" },
            ttftMs?.let { "first token after ${it.toLong()} ms" },
        ).joinToString(" · ")
}

internal fun shown(value: Double): String = "%.2f".format(java.util.Locale.ROOT, value)
