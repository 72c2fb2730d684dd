using System;
using System.IO;
using System.Text;
using QuickType;

/// Reads events, one a line, with the types of quicktype, and writes each back as JSON.
public static class Check
{
    public static void Main()
    {
        var input = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false));
        var output = new StreamWriter(Console.OpenStandardOutput(), new UTF8Encoding(false));
        for (string line = input.ReadLine(); line != null; line = input.ReadLine())
        {
            output.WriteLine(Serialize.ToJson(Event.FromJson(line)));
        }
        output.Flush();
    }
}
