import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.FilterType;
import com.alibaba.nacos.sys.filter.NacosTypeExcludeFilter;

/**
 * A Nacos server on its own, as `startup.sh -m standalone` starts it, without its console. Where it is and what it keeps:
 * system properties.
 */
@SpringBootApplication(
    // Nacos's own console is what would configure it; without that everybody is refused.
    excludeName = {
      "org.springframework.boot.autoconfigure.security.servlet.SecurityAutoConfiguration",
      "org.springframework.boot.actuate.autoconfigure.security.servlet.ManagementWebSecurityAutoConfiguration"
    })
@ComponentScan(
    basePackages = "com.alibaba.nacos",
    excludeFilters = @ComponentScan.Filter(type = FilterType.CUSTOM, classes = NacosTypeExcludeFilter.class))
public class NacosServer {
  public static void main(String[] arguments) {
    System.setProperty("nacos.standalone", "true");
    SpringApplication.run(NacosServer.class, arguments);
  }
}
