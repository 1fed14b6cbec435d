package android.os;

public class Build {
    public static final String MANUFACTURER = runtime();
    public static final String MODEL = runtime();
    public static final String SOC_MANUFACTURER = runtime();
    public static final String SOC_MODEL = runtime();

    private static native String runtime();

    public static class VERSION {
        public static final String RELEASE = runtime();
        public static final int SDK_INT = runtime().length();
    }
}
