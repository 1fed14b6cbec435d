package edgemtp.demo

import android.content.Context
import android.text.InputType
import android.view.View
import android.view.ViewGroup
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.Spinner
import android.widget.Switch
import android.widget.TextView

private const val PADDING_DP = 12
private const val TITLE_SP = 20f
private const val BODY_SP = 15f

/** A column of views, filled from top to bottom. */
internal class Column(
    private val context: Context,
) {
    /** The view to show. */
    val view: LinearLayout =
        LinearLayout(context).apply {
            orientation = LinearLayout.VERTICAL
            val padding = (PADDING_DP * resources.displayMetrics.density).toInt()
            setPadding(padding, padding, padding, padding)
        }

    /** A heading. */
    fun title(text: String): TextView = label(text).apply { textSize = TITLE_SP }

    /** A paragraph. */
    fun label(text: String): TextView =
        add(TextView(context)).apply {
            this.text = text
            textSize = BODY_SP
        }

    /** A button that calls [action]. */
    fun button(
        text: String,
        action: () -> Unit,
    ): Button =
        add(Button(context)).apply {
            this.text = text
            setOnClickListener { action() }
        }

    /** A choice among [items]. */
    fun choice(items: List<String>): Spinner =
        add(Spinner(context)).apply {
            adapter = ArrayAdapter(context, android.R.layout.simple_spinner_dropdown_item, items)
        }

    /** A field to type in; [numeric] brings up digits. */
    fun field(
        hint: String,
        numeric: Boolean = false,
    ): EditText =
        add(EditText(context)).apply {
            this.hint = hint
            if (numeric) inputType = InputType.TYPE_CLASS_NUMBER or InputType.TYPE_NUMBER_FLAG_DECIMAL
        }

    /** A switch that tells [changed]. */
    @Suppress("UseSwitchCompatOrMaterialCode")
    fun switch(
        text: String,
        on: Boolean,
        usable: Boolean = true,
        changed: (Boolean) -> Unit = {},
    ): Switch =
        add(Switch(context)).apply {
            this.text = text
            isChecked = on
            isEnabled = usable
            setOnCheckedChangeListener { _, value -> changed(value) }
        }

    private fun <T : View> add(child: T): T {
        val size = LinearLayout.LayoutParams(ViewGroup.LayoutParams.MATCH_PARENT, ViewGroup.LayoutParams.WRAP_CONTENT)
        view.addView(child, size)
        return child
    }
}
