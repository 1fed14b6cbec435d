package edgemtp.demo

import android.content.Context
import android.widget.EditText
import android.widget.Switch
import android.widget.TextView
import edgemtp.core.app.AppModel
import edgemtp.core.app.UiState
import edgemtp.core.app.progressLine
import edgemtp.core.run.Setting

/** Brightness of the screen during an unattended run, 0 to 1; the log says so. */
internal const val RUN_BRIGHTNESS: Float = 0.05f

private const val BYTES_PER_MB = 1_000_000

/** What the screens ask of the activity. */
internal interface Requests {
    /** Lets the user pick a bundle and its manifest. */
    fun pickBundle()

    /** Lets the user say where the log called [name] goes. */
    fun saveLog(name: String)
}

/** A screen of one kind of state. [update] is called for every later state of that kind. */
internal abstract class Screen(
    context: Context,
) {
    protected val column: Column = Column(context)

    /** What to show. */
    val view: android.view.View get() = column.view

    /** Shows [state]. */
    abstract fun update(state: UiState)
}

/** Bundles, plans and logs. It is built anew whenever the lists change. */
internal class ChoosingScreen(
    context: Context,
    private val model: AppModel,
    requests: Requests,
    state: UiState.Choosing,
    directory: String,
) : Screen(context) {
    private val notices = column.label("")

    init {
        column.title("Bundle")
        column.label("Import a bundle and its manifest, or push both with adb to\n$directory")
        column.button("Import …", requests::pickBundle)
        if (state.bundles.isNotEmpty()) offerRuns(state)
        if (state.logs.isNotEmpty()) {
            column.title("Logs")
            val log = column.choice(state.logs)
            column.button("Save log …") { requests.saveLog(log.selectedItem.toString()) }
        }
        update(state)
    }

    private fun offerRuns(state: UiState.Choosing) {
        val bundle = column.choice(state.bundles)
        column.button("Chat") { model.open(bundle.selectedItem.toString()) }
        column.title("Benchmark")
        val plan = column.choice(state.plans)
        val ambient = column.field("Room temperature in °C", numeric = true)
        val airplane = column.switch("Airplane mode is on", on = false)
        val note = column.field("Note for the log")
        column.label("The screen is dimmed while the plan runs. Unplug the charger and leave the phone alone.")
        column.button("Run the plan") {
            model.run(bundle.selectedItem.toString(), plan.selectedItem.toString(), setting(ambient, airplane, note))
        }
    }

    private fun setting(
        ambient: EditText,
        airplane: Switch,
        note: EditText,
    ): Setting =
        Setting(
            ambientC = ambient.text.toString().toDoubleOrNull(),
            brightness = Math.round(RUN_BRIGHTNESS * 100) / 100.0,
            airplane = airplane.isChecked,
            plugged = null,
            note = note.text.toString().ifBlank { null },
        )

    override fun update(state: UiState) {
        notices.text = noticeText(state)
    }
}

/** Progress of something long. */
internal class BusyScreen(
    context: Context,
    model: AppModel,
) : Screen(context) {
    private val task: TextView = column.title("")

    init {
        column.button("Stop", model::stop)
    }

    override fun update(state: UiState) {
        val busy = state as? UiState.Busy ?: return
        val done = busy.doneBytes / BYTES_PER_MB
        val total = busy.totalBytes
        val amount = if (total == null) "" else " $done of ${total / BYTES_PER_MB} MB"
        task.text = "${busy.task.label}$amount"
    }
}

/** A chat with the MTP switch and live figures. */
internal class ChatScreen(
    context: Context,
    private val model: AppModel,
    state: UiState.Chat,
) : Screen(context) {
    private val notices = column.label("")
    private val drafting = column.switch("MTP", state.speculative, state.canDraft, model::switchDrafting)
    private val figures = column.label("")
    private val turns = column.label("")
    private val prompt = column.field("Prompt")
    private val send = column.button("Send") { sendPrompt() }

    init {
        column.button("Stop", model::stop)
        column.button("Leave", model::leave)
        update(state)
    }

    private fun sendPrompt() {
        val text = prompt.text.toString()
        if (text.isBlank()) return
        prompt.text.clear()
        model.send(text)
    }

    override fun update(state: UiState) {
        val chat = state as? UiState.Chat ?: return
        notices.text = noticeText(chat)
        figures.text = chat.figures?.line().orEmpty()
        turns.text = chat.turns.joinToString("\n\n") { "▸ ${it.prompt}\n${it.reply}" }
        send.isEnabled = !chat.replying
        drafting.isEnabled = chat.canDraft && !chat.replying
    }
}

/** A run that is going on. */
internal class RunningScreen(
    context: Context,
    model: AppModel,
) : Screen(context) {
    private val progress = column.title("")
    private val notices = column.label("")

    init {
        column.button("Stop", model::stop)
    }

    override fun update(state: UiState) {
        val running = state as? UiState.Running ?: return
        progress.text = progressLine(running.progress)
        notices.text = "${running.log}\n${noticeText(running)}"
    }
}

/** How a run ended. */
internal class EndedScreen(
    context: Context,
    model: AppModel,
    requests: Requests,
    state: UiState.Ended,
) : Screen(context) {
    init {
        column.title("The run ${state.reason.word}")
        column.title(state.speedUp)
        column.label(noticeText(state))
        column.button("Save log …") { requests.saveLog(state.log) }
        column.button("Back", model::leave)
    }

    override fun update(state: UiState): Unit = Unit
}

private fun noticeText(state: UiState): String = state.notices.joinToString("\n") { it.text }
