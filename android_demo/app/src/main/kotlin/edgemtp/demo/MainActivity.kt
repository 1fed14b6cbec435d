package edgemtp.demo

import android.app.Activity
import android.content.Intent
import android.net.Uri
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import android.provider.OpenableColumns
import android.view.WindowManager
import android.widget.LinearLayout
import android.widget.ScrollView
import android.widget.TextView
import edgemtp.core.app.AppModel
import edgemtp.core.app.UiState
import edgemtp.core.app.statusLine
import edgemtp.core.bundle.ImportSource
import java.io.IOException
import java.util.concurrent.atomic.AtomicReference
import kotlin.reflect.KClass

private const val PICK_BUNDLE = 1
private const val SAVE_LOG = 2
private const val STATUS_PERIOD_MS = 2000L
private const val LOG_TO_SAVE = "log_to_save"

/** The only screen: shows the model's state and passes on what the user does. */
class MainActivity :
    Activity(),
    Requests {
    private val main = Handler(Looper.getMainLooper())
    private val waiting = AtomicReference<UiState?>()
    private val app: DemoApplication get() = application as DemoApplication
    private val model: AppModel get() = app.model
    private lateinit var status: TextView
    private lateinit var frame: ScrollView
    private var screen: Screen? = null
    private var shown: KClass<out UiState>? = null
    private var logToSave: String? = null

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        logToSave = saved?.getString(LOG_TO_SAVE)
        status = TextView(this)
        frame = ScrollView(this)
        val page = LinearLayout(this)
        page.orientation = LinearLayout.VERTICAL
        page.fitsSystemWindows = true
        page.addView(status)
        page.addView(frame)
        setContentView(page)
    }

    override fun onStart() {
        super.onStart()
        model.foreground()
        model.observe(::post)
        tick()
    }

    override fun onStop() {
        super.onStop()
        model.observe {}
        main.removeCallbacksAndMessages(null)
        if (!isChangingConfigurations) model.background()
    }

    override fun onSaveInstanceState(out: Bundle) {
        super.onSaveInstanceState(out)
        out.putString(LOG_TO_SAVE, logToSave)
    }

    /** States come from any thread and faster than a screen needs them: only the newest is shown. */
    private fun post(state: UiState) {
        if (waiting.getAndSet(state) == null) main.post { waiting.getAndSet(null)?.let(::show) }
    }

    private fun show(state: UiState) {
        if (state::class != shown || state is UiState.Choosing) {
            shown = state::class
            screen = screenFor(state)
            frame.removeAllViews()
            frame.addView(screen?.view)
            keepAwake(awake = state is UiState.Running || state is UiState.Busy, dimmed = state is UiState.Running)
        }
        screen?.update(state)
    }

    private fun screenFor(state: UiState): Screen =
        when (state) {
            is UiState.Choosing -> ChoosingScreen(this, model, this, state, getExternalFilesDir(null)?.path.orEmpty())
            is UiState.Busy -> BusyScreen(this, model)
            is UiState.Chat -> ChatScreen(this, model, state)
            is UiState.Running -> RunningScreen(this, model)
            is UiState.Ended -> EndedScreen(this, model, this, state)
        }

    /** A screen that goes off would put the app to sleep: it stays on for what is long, nearly dark during a run. */
    private fun keepAwake(
        awake: Boolean,
        dimmed: Boolean,
    ) {
        val keepOn = WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
        if (awake) window.addFlags(keepOn) else window.clearFlags(keepOn)
        val asUsual = WindowManager.LayoutParams.BRIGHTNESS_OVERRIDE_NONE
        window.attributes = window.attributes.apply { screenBrightness = if (dimmed) RUN_BRIGHTNESS else asUsual }
    }

    /** During a run the log's own samples are enough: the sensors are not asked twice. */
    private fun tick() {
        if (shown != UiState.Running::class) status.text = statusLine(app.probe.read(withHeadroom = true))
        main.postDelayed(::tick, STATUS_PERIOD_MS)
    }

    override fun pickBundle() {
        val ask = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*")
        startActivityForResult(ask.putExtra(Intent.EXTRA_ALLOW_MULTIPLE, true), PICK_BUNDLE)
    }

    override fun saveLog(name: String) {
        logToSave = name
        val ask = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*")
        startActivityForResult(ask.putExtra(Intent.EXTRA_TITLE, name), SAVE_LOG)
    }

    override fun onActivityResult(
        request: Int,
        result: Int,
        data: Intent?,
    ) {
        super.onActivityResult(request, result, data)
        if (result != RESULT_OK || data == null) return
        when (request) {
            PICK_BUNDLE -> picked(data).forEach { model.import(source(it)) }
            SAVE_LOG -> data.data?.let(::save)
        }
    }

    private fun picked(data: Intent): List<Uri> {
        val several = data.clipData ?: return listOfNotNull(data.data)
        return List(several.itemCount) { several.getItemAt(it).uri }
    }

    private fun source(uri: Uri): ImportSource {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        var name = uri.lastPathSegment.orEmpty()
        var bytes: Long? = null
        contentResolver.query(uri, columns, null, null, null)?.use { row ->
            if (row.moveToFirst()) {
                name = row.getString(0) ?: name
                bytes = if (row.isNull(1)) null else row.getLong(1)
            }
        }
        val resolver = applicationContext.contentResolver
        return ImportSource(name, bytes) {
            resolver.openInputStream(uri) ?: throw IOException("the document provider gave nothing")
        }
    }

    private fun save(uri: Uri) {
        val name = logToSave ?: return
        val resolver = applicationContext.contentResolver
        model.export(name) {
            resolver.openOutputStream(uri) ?: throw IOException("the document provider takes nothing")
        }
    }
}
