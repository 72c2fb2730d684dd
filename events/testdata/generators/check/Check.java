import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.deser.std.StdScalarDeserializer;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.std.StdScalarSerializer;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;

/**
 * Reads events, one a line, with the types of quicktype and of Modelina, and writes
 * each back as JSON, with either, one after another. It stands for Jackson's own
 * module for times, which Debian does not package.
 */
public class Check {
    public static void main(String[] arguments) throws Exception {
        SimpleModule times = new SimpleModule();
        times.addDeserializer(OffsetDateTime.class, new StdScalarDeserializer<OffsetDateTime>(OffsetDateTime.class) {
            @Override
            public OffsetDateTime deserialize(JsonParser parser, DeserializationContext context) throws IOException {
                return OffsetDateTime.parse(parser.getText());
            }
        });
        times.addSerializer(new StdScalarSerializer<OffsetDateTime>(OffsetDateTime.class) {
            @Override
            public void serialize(OffsetDateTime time, JsonGenerator to, SerializerProvider provider) throws IOException {
                to.writeString(DateTimeFormatter.ISO_OFFSET_DATE_TIME.format(time));
            }
        });
        ObjectMapper mapper = new ObjectMapper().registerModule(times);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String kind = mapper.readTree(line).get("type").asText().split("\\.")[2];
            String name = "guestflow." + kind.substring(0, 1).toUpperCase() + kind.substring(1) + "Event";
            out.println(mapper.writeValueAsString(mapper.readValue(line, io.quicktype.Event.class)));
            out.println(mapper.writeValueAsString(mapper.readValue(line, Class.forName(name))));
        }
    }
}
