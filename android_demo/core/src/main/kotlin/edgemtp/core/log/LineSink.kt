package edgemtp.core.log

import java.io.File
import java.io.FileOutputStream

/** Where lines go. */
interface LineSink : AutoCloseable {
    /** Writes [line] and a line feed; [durable] also waits until the storage has it. */
    fun append(
        line: String,
        durable: Boolean,
    )
}

/**
 * A file that is only appended to.
 *
 * Every line goes to the kernel at once, so that it outlives the app. Durable lines are synced too, so that they
 * outlive the phone's battery; samples are not, since a sync a second would wake the storage that is measured.
 */
class FileSink(
    file: File,
) : LineSink {
    private val stream = FileOutputStream(file, true)

    override fun append(
        line: String,
        durable: Boolean,
    ) {
        stream.write((line + "\n").toByteArray())
        stream.flush()
        if (durable) stream.fd.sync()
    }

    override fun close(): Unit = stream.close()
}
