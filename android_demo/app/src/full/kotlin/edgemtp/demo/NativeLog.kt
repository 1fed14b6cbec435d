package edgemtp.demo

import java.io.IOException

/** The newest lines of this process in Android's log, where the runtime writes; none where they cannot be read. */
internal fun nativeLog(): List<String> =
    try {
        val pid =
            android.os.Process
                .myPid()
                .toString()
        val command = listOf("logcat", "-d", "-t", "500", "--pid", pid)
        val process = ProcessBuilder(command).redirectErrorStream(true).start()
        process.inputStream.bufferedReader().useLines { it.toList() }
    } catch (error: IOException) {
        listOf("the log could not be read: $error")
    }
